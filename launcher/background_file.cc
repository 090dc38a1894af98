#include "launcher/background_file.h"

#include <mutex>
#include <string>
#include <utility>

namespace closeranks::launcher {

struct BackgroundFile::Shared {
  std::unique_ptr<AppendFile> file;  // only in the background
  std::mutex mutex;
  Status status;  // guarded by the mutex

  Status Get() {
    std::lock_guard lock(mutex);
    return status;
  }
};

BackgroundFile::BackgroundFile(std::unique_ptr<AppendFile> file, net::Background& background)
    : background_(background), shared_(std::make_shared<Shared>()) {
  shared_->file = std::move(file);
}

BackgroundFile::~BackgroundFile() = default;

Status BackgroundFile::Start(std::function<Status(AppendFile& file)> task) {
  RETURN_IF_ERROR(shared_->Get());
  background_.Start([shared = shared_, task = std::move(task)] {
    if (!shared->Get().ok()) return;
    Status done = task(*shared->file);
    std::lock_guard lock(shared->mutex);
    shared->status = std::move(done);
  });
  return OkStatus();
}

Status BackgroundFile::Append(std::string_view bytes) {
  return Start([text = std::string(bytes)](AppendFile& file) { return file.Append(text); });
}

Status BackgroundFile::Sync() {
  return Start([](AppendFile& file) { return file.Sync(); });
}

}  // namespace closeranks::launcher
