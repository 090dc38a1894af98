// Storage as a seam: ledgers, reports and checkpoints go through Files, so that a test can make the
// disk slow, full or torn. Paths are absolute or relative to the working directory.
#ifndef CLOSERANKS_BASE_FILES_H_
#define CLOSERANKS_BASE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"

namespace closeranks {

// A file that grows at its end. Closed by its destructor. Used by one thread at a time, but for
// Sync, which may be called beside the others.
class AppendFile {
 public:
  virtual ~AppendFile() = default;
  // All of `bytes` is handed to the operating system (it survives this process, not the machine),
  // or an error is returned and the file may hold a part of it.
  virtual Status Append(std::string_view bytes) = 0;
  // What was appended survives the machine too, once the file's name does (see SyncFolder).
  virtual Status Sync() = 0;
};

// All calls may come from any thread and block on the disk.
class Files {
 public:
  virtual ~Files() = default;

  // Whether there is a file or folder of that name. An error where the disk doesn't say.
  virtual Result<bool> Exists(const std::string& path) = 0;
  // The whole file. kUnavailable when there is none, and for what may pass: see Exists.
  virtual Result<std::string> Read(const std::string& path) = 0;
  // At most `bytes` bytes from `offset` on: less where the file ends. Errors as those of Read.
  virtual Result<std::string> ReadPart(const std::string& path, uint64_t offset, size_t bytes) = 0;
  // Opens `path` for appending, and makes it where it isn't there.
  virtual Result<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path) = 0;
  // The same of a file that is made here. kAborted when it is there already.
  virtual Result<std::unique_ptr<AppendFile>> Create(const std::string& path) = 0;
  // After a crash at any moment `path` holds the old bytes or the new ones, synced, never a
  // mixture.
  virtual Status Replace(const std::string& path, std::string_view bytes) = 0;
  // Makes `path` with these bytes, synced; kAborted when it was there already. Of several processes
  // that try at once exactly one succeeds.
  virtual Status CreateExclusively(const std::string& path, std::string_view bytes) = 0;
  // Makes a folder and those above it; ok when it is there already.
  virtual Status MakeFolder(const std::string& path) = 0;
  // The names that were made in the folder, or removed from it, survive the machine as they are.
  virtual Status SyncFolder(const std::string& path) = 0;
  // Names (not paths) in the folder, in ascending order, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;
  // Makes `path` where it isn't there, and holds it until the descriptor closes, at the latest with
  // this process. kAborted while another holds it.
  virtual Result<UniqueFd> Lock(const std::string& path) = 0;
  // Ok when there is none.
  virtual Status Remove(const std::string& path) = 0;
  // Removes a folder that is empty. Ok when there is none.
  virtual Status RemoveFolder(const std::string& path) = 0;
};

// The real disk. Has no state.
class SystemFiles final : public Files {
 public:
  Result<bool> Exists(const std::string& path) override;
  Result<std::string> Read(const std::string& path) override;
  Result<std::string> ReadPart(const std::string& path, uint64_t offset, size_t bytes) override;
  Result<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path) override;
  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override;
  Status Replace(const std::string& path, std::string_view bytes) override;
  Status CreateExclusively(const std::string& path, std::string_view bytes) override;
  Status MakeFolder(const std::string& path) override;
  Status SyncFolder(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& folder) override;
  Result<UniqueFd> Lock(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status RemoveFolder(const std::string& path) override;
};

}  // namespace closeranks

#endif  // CLOSERANKS_BASE_FILES_H_
