// Policies for evidence, from relays: of the root that the evidence names, or not at all.
#include "audit/mirror_inputs.h"

#include <gtest/gtest.h>

#include <atomic>

#include "audit/test_audit.h"
#include "base/hex.h"
#include "channel/blob_folder.h"
#include "channel/blob_pages.h"
#include "channel/relay_keeper.h"
#include "http/server.h"
#include "run/policy_shelf.h"

namespace waggle {
namespace {

// A relay that has the first versions of a run, all weights moving a little each time.
class TestRelay {
 public:
  TestRelay(const TestAudit& audit, const std::filesystem::path& folder, float move)
      : blobs_(BlobFolder::OpenAt(folder / "relay").value()) {
    PolicyShelf shelf(audit.run->run_id, pool_);
    EXPECT_TRUE(shelf.Open(folder / "shelf"));
    Parameters parameters = audit.run->trainer->parameters();
    std::vector<AnnouncedPolicy> announced;
    for (std::uint64_t v = 0; v < 3; ++v) {
      PolicyImage image = ImageOf(parameters, audit.run->numerics.weights, nullptr, pool_);
      roots.push_back(image.root());
      EXPECT_TRUE(shelf.Put(PolicyVersion{v}, std::move(image), PolicyKind::kDelta));
      for (auto& [name, tensor] : parameters)
        for (float& value : tensor.data) value += move;
    }
    for (const auto& published : shelf.Published())
      for (const auto& digest : {published.update, published.snapshot})
        if (digest) announced.push_back({published.version, *digest});
    for (const AnnouncedPolicy& one : announced) {
      const PolicyManifest manifest = DecodeManifest(Take(shelf, one.manifest)).value();
      for (const Digest256& chunk : manifest.chunks) Take(shelf, chunk);
    }
    chain = ToText(announced);
    server_ = HttpServer::Start("127.0.0.1:0", HttpLimits{}, SystemClock(),
                                [this](const HttpRequest& request) { return Answer(request); })
                  .value();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }

  std::vector<Hash256> roots;
  std::string chain;
  std::atomic<int> asked = 0;

 private:
  Bytes Take(PolicyShelf& shelf, const Digest256& hash) {
    const auto blob = shelf.Open(hash).value();
    Bytes bytes(blob->size());
    EXPECT_TRUE(blob->Read(0, std::as_writable_bytes(std::span(bytes))));
    EXPECT_TRUE(blobs_->Put(hash, bytes));
    return bytes;
  }
  HttpResponse Answer(const HttpRequest& request) {
    ++asked;
    if (auto blob = AnswerBlob(*blobs_, request)) return std::move(*blob);
    HttpResponse response;
    response.text = chain;
    return response;
  }

  ThreadPool pool_{1};
  std::unique_ptr<BlobFolder> blobs_;
  std::unique_ptr<HttpServer> server_;
};

class FromRelays : public ::testing::Test {
 protected:
  Result<std::shared_ptr<const Model>> Policy(const std::vector<std::string>& relays,
                                              std::uint64_t version, const Hash256& root) {
    MirrorInputs inputs({.folders = {}, .relays = relays, .cache = folder_.path() / "cache"},
                        BestOps(), pool_, SystemClock(), [](const std::string&) {});
    return inputs.Policy(*site_, audit_.run->run_id, PolicyVersion{version}, root);
  }

  ThreadPool pool_{1};
  TempFolder folder_;
  TestAudit audit_;
  TestRelay honest_{audit_, folder_.path() / "honest", 1e-3f};
  std::unique_ptr<RunSite> site_ = MakeRunSite(audit_.description, audit_.run->run_id).value();
};

TEST_F(FromRelays, APolicyIsFetchedOnceAndThenHere) {
  ASSERT_TRUE(Policy({honest_.url()}, 2, honest_.roots[2]));
  const int asked = honest_.asked;
  EXPECT_GT(asked, 3);
  ASSERT_TRUE(Policy({honest_.url()}, 2, honest_.roots[2]));
  EXPECT_EQ(honest_.asked, asked);
}

TEST_F(FromRelays, AnotherHistoryIsNotUsedAndDoesNotStay) {
  TestRelay liar(audit_, folder_.path() / "liar", 2e-3f);
  const auto wrong = Policy({liar.url()}, 2, honest_.roots[2]);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().blame, Blame::kMachine);
  EXPECT_NE(wrong.error().what.find(liar.url()), std::string::npos);
  EXPECT_TRUE(Policy({liar.url(), honest_.url()}, 2, honest_.roots[2]));
}

TEST_F(FromRelays, WhatRelaysMaySayIsBounded) {
  const Hash256 root = honest_.roots[2];
  const std::string chain = honest_.chain;
  honest_.chain = "2 " + std::string(64, 'z') + "\n";
  EXPECT_FALSE(Policy({honest_.url()}, 2, root));
  honest_.chain = std::string(std::size_t{1} << 20, '7');
  EXPECT_FALSE(Policy({honest_.url()}, 2, root));
  honest_.chain = "2 " + std::string(64, '0') + "\n";  // a blob that it has not
  EXPECT_FALSE(Policy({honest_.url()}, 2, root));
  honest_.chain = "";
  const auto empty = Policy({honest_.url()}, 2, root);
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().what.find("version 2"), std::string::npos);
  EXPECT_FALSE(Policy({"http://127.0.0.1:9"}, 2, root));
  honest_.chain = chain;
  EXPECT_TRUE(Policy({"http://127.0.0.1:9", honest_.url()}, 2, root));
}

TEST_F(FromRelays, PoliciesOfAnotherRunAreNotFetched) {
  Recipe other = AuditRecipe();
  other.seed += 1;
  TestAudit elsewhere(other);
  TestRelay relay(elsewhere, folder_.path() / "elsewhere", 1e-3f);
  const auto refused = Policy({relay.url()}, 2, honest_.roots[2]);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("another run"), std::string::npos);
}

}  // namespace
}  // namespace waggle
