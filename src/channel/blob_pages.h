// What a mirror answers over HTTP: GET or HEAD /blob/<hash, 64 hex digits>, with ranges. The same
// path under which a static server has them as files.
#pragma once

#include <optional>

#include "http/message.h"
#include "net/server.h"

namespace waggle {

// Nothing: the path is none of ours. 404: not here, or not yet. For an HttpServer's handler;
// `blobs` may be asked from its thread.
std::optional<HttpResponse> AnswerBlob(BlobSource& blobs, const HttpRequest& request);

}  // namespace waggle
