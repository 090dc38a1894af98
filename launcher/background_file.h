// A file that is appended to without waiting for its disk.
#ifndef CLOSERANKS_LAUNCHER_BACKGROUND_FILE_H_
#define CLOSERANKS_LAUNCHER_BACKGROUND_FILE_H_

#include <functional>
#include <memory>
#include <string_view>

#include "base/files.h"
#include "base/status.h"
#include "net/background.h"

namespace closeranks::launcher {

class BackgroundFile final : public AppendFile {
 public:
  // `background` outlives it, and finishes with what was appended even when this is gone.
  BackgroundFile(std::unique_ptr<AppendFile> file, net::Background& background);
  ~BackgroundFile() override;

  // Returns at once. Errors are those of what was appended before, and after one nothing is.
  Status Append(std::string_view bytes) override;
  // The same for Sync.
  Status Sync() override;

 private:
  struct Shared;

  Status Start(std::function<Status(AppendFile& file)> task);

  net::Background& background_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace closeranks::launcher

#endif  // CLOSERANKS_LAUNCHER_BACKGROUND_FILE_H_
