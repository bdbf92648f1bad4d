#include "torrent/swarm_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <libtorrent/disk_buffer_holder.hpp>
#include <libtorrent/error_code.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/io_context.hpp>
#include <libtorrent/peer_request.hpp>
#include <libtorrent/storage_defs.hpp>

namespace waggle {
namespace {

lt::storage_error FailedAt(lt::operation_t what) {
  return {lt::error_code(boost::system::errc::io_error, lt::generic_category()), what};
}

// Everything is done at once, on the session's thread: memory and page cache are faster than a hop.
class Disk final : public lt::disk_interface, public lt::buffer_allocator_interface {
 public:
  Disk(lt::io_context& context, std::shared_ptr<SwarmStorages> storages)
      : context_(context), storages_(std::move(storages)) {}

  lt::storage_holder new_torrent(const lt::storage_params& params,
                                 const std::shared_ptr<void>&) override {
    std::size_t at = 0;
    while (at < open_.size() && open_[at]) ++at;
    if (at == open_.size()) open_.emplace_back();
    open_[at] = storages_->Find(params.info_hash);
    return {lt::storage_index_t(static_cast<std::uint32_t>(at)), *this};
  }
  void remove_torrent(lt::storage_index_t at) override { At(at).reset(); }

  void async_read(lt::storage_index_t at, const lt::peer_request& r,
                  std::function<void(lt::disk_buffer_holder, const lt::storage_error&)> handler,
                  lt::disk_job_flags_t) override {
    auto* buffer = new char[static_cast<std::size_t>(r.length)];
    const bool read = Read(at, r.piece, r.start, buffer, r.length);
    boost::asio::post(context_, [this, buffer, r, read, handler = std::move(handler)] {
      handler(lt::disk_buffer_holder(*this, buffer, r.length),
              read ? lt::storage_error() : FailedAt(lt::operation_t::file_read));
    });
  }

  bool async_write(lt::storage_index_t at, const lt::peer_request& r, const char* bytes,
                   std::shared_ptr<lt::disk_observer>,
                   std::function<void(const lt::storage_error&)> handler,
                   lt::disk_job_flags_t) override {
    const bool written =
        Fits(at, r.piece, r.start, r.length) &&
        At(at)->Write(OffsetOf(at, r.piece, r.start), {reinterpret_cast<const std::uint8_t*>(bytes),
                                                       static_cast<std::size_t>(r.length)});
    boost::asio::post(context_, [written, handler = std::move(handler)] {
      handler(written ? lt::storage_error() : FailedAt(lt::operation_t::file_write));
    });
    return false;
  }

  void async_hash(
      lt::storage_index_t at, lt::piece_index_t piece, lt::span<lt::sha256_hash>,
      lt::disk_job_flags_t,
      std::function<void(lt::piece_index_t, const lt::sha1_hash&, const lt::storage_error&)>
          handler) override {
    std::vector<char> bytes(static_cast<std::size_t>(BytesOf(at, piece)));
    const bool read = Read(at, piece, 0, bytes.data(), static_cast<int>(bytes.size()));
    const lt::sha1_hash hash = lt::hasher(bytes).final();
    boost::asio::post(context_, [piece, hash, read, handler = std::move(handler)] {
      handler(piece, hash, read ? lt::storage_error() : FailedAt(lt::operation_t::file_read));
    });
  }
  void async_hash2(lt::storage_index_t, lt::piece_index_t piece, int, lt::disk_job_flags_t,
                   std::function<void(lt::piece_index_t, const lt::sha256_hash&,
                                      const lt::storage_error&)>
                       handler) override {  // of v2 torrents, which we have not
    boost::asio::post(context_, [piece, handler = std::move(handler)] {
      handler(piece, lt::sha256_hash(), FailedAt(lt::operation_t::file_read));
    });
  }

  // What is here is said when a torrent is added; there is nothing to look for.
  void async_check_files(
      lt::storage_index_t, const lt::add_torrent_params*,
      lt::aux::vector<std::string, lt::file_index_t>,
      std::function<void(lt::status_t, const lt::storage_error&)> handler) override {
    boost::asio::post(context_, [handler = std::move(handler)] {
      handler(lt::status_t::no_error, lt::storage_error());
    });
  }
  void async_move_storage(
      lt::storage_index_t, std::string path, lt::move_flags_t,
      std::function<void(lt::status_t, const std::string&, const lt::storage_error&)> handler)
      override {
    boost::asio::post(context_, [path, handler = std::move(handler)] {
      handler(lt::status_t::fatal_disk_error, path, FailedAt(lt::operation_t::file_rename));
    });
  }
  void async_release_files(lt::storage_index_t, std::function<void()> handler) override {
    if (handler) boost::asio::post(context_, std::move(handler));
  }
  void async_stop_torrent(lt::storage_index_t, std::function<void()> handler) override {
    if (handler) boost::asio::post(context_, std::move(handler));
  }
  void async_rename_file(
      lt::storage_index_t, lt::file_index_t file, std::string name,
      std::function<void(const std::string&, lt::file_index_t, const lt::storage_error&)> handler)
      override {
    boost::asio::post(context_, [file, name, handler = std::move(handler)] {
      handler(name, file, lt::storage_error());
    });
  }
  void async_delete_files(lt::storage_index_t, lt::remove_flags_t,
                          std::function<void(const lt::storage_error&)> handler) override {
    boost::asio::post(context_, [handler = std::move(handler)] { handler(lt::storage_error()); });
  }
  void async_set_file_priority(
      lt::storage_index_t, lt::aux::vector<lt::download_priority_t, lt::file_index_t> priorities,
      std::function<void(const lt::storage_error&,
                         lt::aux::vector<lt::download_priority_t, lt::file_index_t>)>
          handler) override {
    boost::asio::post(context_,
                      [priorities = std::move(priorities), handler = std::move(handler)]() mutable {
                        handler(lt::storage_error(), std::move(priorities));
                      });
  }
  void async_clear_piece(lt::storage_index_t, lt::piece_index_t piece,
                         std::function<void(lt::piece_index_t)> handler) override {
    boost::asio::post(context_, [piece, handler = std::move(handler)] { handler(piece); });
  }

  void update_stats_counters(lt::counters&) const override {}
  std::vector<lt::open_file_state> get_status(lt::storage_index_t) const override { return {}; }
  void abort(bool) override {}
  void submit_jobs() override {}
  void settings_updated() override {}
  void free_disk_buffer(char* buffer) override { delete[] buffer; }

 private:
  std::shared_ptr<SwarmStorage>& At(lt::storage_index_t at) {
    return open_[static_cast<std::uint32_t>(at)];
  }
  std::uint64_t OffsetOf(lt::storage_index_t at, lt::piece_index_t piece, int start) {
    return static_cast<std::uint64_t>(static_cast<int>(piece)) * At(at)->layout().piece_bytes() +
           static_cast<std::uint64_t>(start);
  }
  bool Fits(lt::storage_index_t at, lt::piece_index_t piece, int start, int length) {
    return At(at) && static_cast<int>(piece) >= 0 && start >= 0 && length >= 0 &&
           OffsetOf(at, piece, start) + static_cast<std::uint64_t>(length) <=
               At(at)->layout().bytes();
  }
  std::uint64_t BytesOf(lt::storage_index_t at, lt::piece_index_t piece) {
    if (!Fits(at, piece, 0, 0)) return 0;
    const TorrentLayout& layout = At(at)->layout();
    return std::min<std::uint64_t>(layout.piece_bytes(), layout.bytes() - OffsetOf(at, piece, 0));
  }
  bool Read(lt::storage_index_t at, lt::piece_index_t piece, int start, char* out, int length) {
    return Fits(at, piece, start, length) &&
           At(at)->Read(OffsetOf(at, piece, start),
                        {reinterpret_cast<std::uint8_t*>(out), static_cast<std::size_t>(length)});
  }

  lt::io_context& context_;
  const std::shared_ptr<SwarmStorages> storages_;
  std::vector<std::shared_ptr<SwarmStorage>> open_;
};

}  // namespace

Status SwarmStorage::OpenScratch(const std::filesystem::path& folder) {
  std::string name = (folder / "incoming-XXXXXX").string();
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) return Fail(Blame::kMachine, "{}: {}", name, std::strerror(errno));
  ::unlink(name.c_str());
  const std::lock_guard lock(mutex_);
  scratch_ = Descriptor(file);
  return {};
}

void SwarmStorage::ReadFrom(std::shared_ptr<PayloadSource> source) {
  const std::lock_guard lock(mutex_);
  source_ = std::move(source);
  scratch_ = Descriptor();
}

Status SwarmStorage::Read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  const std::lock_guard lock(mutex_);
  while (source_ && !out.empty()) {
    const std::size_t file = layout_.FileAt(offset);
    const std::uint64_t within = offset - layout_.FileOffset(file);
    const std::size_t bytes = std::min<std::uint64_t>(out.size(), layout_.FileSize(file) - within);
    WG_TRY(source_->Read(layout_.files()[file].chunks.front(), within, out.first(bytes)));
    out = out.subspan(bytes);
    offset += bytes;
  }
  while (!out.empty()) {
    const ssize_t n = ::pread(scratch_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Fail(Blame::kMachine, "a payload on its way: {}", std::strerror(errno));
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Status SwarmStorage::Write(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
  const std::lock_guard lock(mutex_);
  if (source_) return {};  // it is all there
  while (!bytes.empty()) {
    const ssize_t n =
        ::pwrite(scratch_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Fail(Blame::kMachine, "a payload on its way: {}", std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

void SwarmStorages::Put(const lt::sha1_hash& infohash, std::shared_ptr<SwarmStorage> storage) {
  const std::lock_guard lock(mutex_);
  storages_[infohash] = std::move(storage);
}

void SwarmStorages::Remove(const lt::sha1_hash& infohash) {
  const std::lock_guard lock(mutex_);
  storages_.erase(infohash);
}

std::shared_ptr<SwarmStorage> SwarmStorages::Find(const lt::sha1_hash& infohash) const {
  const std::lock_guard lock(mutex_);
  const auto found = storages_.find(infohash);
  return found == storages_.end() ? nullptr : found->second;
}

lt::disk_io_constructor_type SwarmDisk(std::shared_ptr<SwarmStorages> storages) {
  return [storages = std::move(storages)](lt::io_context& context, const lt::settings_interface&,
                                          lt::counters&) -> std::unique_ptr<lt::disk_interface> {
    return std::make_unique<Disk>(context, storages);
  };
}

}  // namespace waggle
