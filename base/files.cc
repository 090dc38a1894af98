#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <limits>

#include "base/hexadecimal.h"
#include "base/random.h"

namespace closeranks {
namespace {

Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "writing " + path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return OkStatus();
}

Status SyncFd(int fd, const std::string& path) {
  return fsync(fd) == 0 ? OkStatus() : ErrnoStatus(errno, "syncing " + path);
}

Status SyncFolderAt(const std::string& folder) {
  UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, "opening the folder " + folder);
  return SyncFd(fd.get(), folder);
}

Status SyncFolderOf(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path();
  return SyncFolderAt(folder.empty() ? "." : folder);
}

// A name beside `path` that nobody else uses, on this machine or on another one that shares the
// folder: processes of two containers may well have the same number.
std::string TemporaryBeside(const std::string& path) {
  return path + ".tmp." + Hexadecimal(SystemRandom().Next());
}

// Writes `bytes` to a new file beside `path`: its name. After an error there is none.
Result<std::string> WriteBeside(const std::string& path, std::string_view bytes) {
  std::string temporary = TemporaryBeside(path);
  UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return ErrnoStatus(errno, "creating " + temporary);
  Status written = WriteAll(fd.get(), bytes, temporary);
  if (written.ok()) written = SyncFd(fd.get(), temporary);
  if (written.ok()) return temporary;
  unlink(temporary.c_str());
  return written;
}

class SystemAppendFile final : public AppendFile {
 public:
  SystemAppendFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Status Append(std::string_view bytes) override { return WriteAll(fd_.get(), bytes, path_); }
  Status Sync() override { return SyncFd(fd_.get(), path_); }

 private:
  UniqueFd fd_;
  std::string path_;
};

}  // namespace

Result<bool> SystemFiles::Exists(const std::string& path) {
  struct stat found;
  if (stat(path.c_str(), &found) == 0) return true;
  if (errno == ENOENT) return false;
  return ErrnoStatus(errno, "looking for " + path);
}

Result<std::string> SystemFiles::Read(const std::string& path) {
  return ReadPart(path, 0, std::numeric_limits<size_t>::max());
}

Result<std::string> SystemFiles::ReadPart(const std::string& path, uint64_t offset, size_t bytes) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return ErrnoStatus(errno, "opening " + path);
  if (offset > 0 && lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    return ErrnoStatus(errno, "reading " + path);
  }
  std::string content;
  std::array<char, 1 << 16> chunk;
  while (content.size() < bytes) {
    ssize_t got = read(fd.get(), chunk.data(), std::min(chunk.size(), bytes - content.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "reading " + path);
    if (got == 0) break;
    content.append(chunk.data(), static_cast<size_t>(got));
  }
  return content;
}

Result<std::unique_ptr<AppendFile>> SystemFiles::OpenForAppend(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) return ErrnoStatus(errno, "opening " + path);
  return std::unique_ptr<AppendFile>(std::make_unique<SystemAppendFile>(std::move(fd), path));
}

Result<std::unique_ptr<AppendFile>> SystemFiles::Create(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd && errno == EEXIST) return Aborted(path + " is there already");
  if (!fd) return ErrnoStatus(errno, "creating " + path);
  return std::unique_ptr<AppendFile>(std::make_unique<SystemAppendFile>(std::move(fd), path));
}

Status SystemFiles::Replace(const std::string& path, std::string_view bytes) {
  ASSIGN_OR_RETURN(const std::string temporary, WriteBeside(path, bytes));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    Status renamed = ErrnoStatus(errno, "renaming " + temporary + " to " + path);
    unlink(temporary.c_str());
    return renamed;
  }
  return SyncFolderOf(path);
}

Status SystemFiles::CreateExclusively(const std::string& path, std::string_view bytes) {
  // link() is atomic also on network filesystems, and the name appears with all its bytes.
  ASSIGN_OR_RETURN(const std::string temporary, WriteBeside(path, bytes));
  Status linked = OkStatus();
  if (link(temporary.c_str(), path.c_str()) != 0) {
    linked = errno == EEXIST ? Aborted(path + " is there already")
                             : ErrnoStatus(errno, "creating " + path);
  }
  unlink(temporary.c_str());
  RETURN_IF_ERROR(linked);
  return SyncFolderOf(path);
}

Status SystemFiles::MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? ErrnoStatus(error.value(), "making the folder " + path) : OkStatus();
}

Status SystemFiles::SyncFolder(const std::string& path) { return SyncFolderAt(path); }

Result<std::vector<std::string>> SystemFiles::List(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename());
  }
  if (error) return ErrnoStatus(error.value(), "listing " + folder);
  std::sort(names.begin(), names.end());
  return names;
}

Result<UniqueFd> SystemFiles::Lock(const std::string& path) {
  // Writable, as a lock on a network filesystem wants it.
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return ErrnoStatus(errno, "opening " + path);
  int locked;
  do {
    locked = flock(fd.get(), LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked == 0) return fd;
  if (errno == EWOULDBLOCK) return Aborted("another process holds " + path);
  return ErrnoStatus(errno, "locking " + path);
}

Status SystemFiles::Remove(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return OkStatus();
  return ErrnoStatus(errno, "removing " + path);
}

Status SystemFiles::RemoveFolder(const std::string& path) {
  if (rmdir(path.c_str()) == 0 || errno == ENOENT) return OkStatus();
  return ErrnoStatus(errno, "removing the folder " + path);
}

}  // namespace closeranks
