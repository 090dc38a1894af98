#include "base/simulated_files.h"

#include <algorithm>
#include <utility>

namespace closeranks {
namespace {

// "" for a name at the top.
std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

Status Down() { return Unavailable("the machine is down"); }

}  // namespace

class SimulatedFiles::File final : public AppendFile {
 public:
  File(SimulatedFiles& files, NodeRef node) : files_(files), node_(std::move(node)) {
    start_ = files_.starts_;
  }
  Status Append(std::string_view bytes) override {
    std::lock_guard lock(files_.mutex_);
    return start_ == files_.starts_ ? files_.Write(*node_, bytes) : Down();
  }
  Status Sync() override {
    std::lock_guard lock(files_.mutex_);
    return start_ == files_.starts_ ? files_.Sync(*node_) : Down();
  }

 private:
  SimulatedFiles& files_;
  NodeRef node_;
  int start_;
};

int64_t SimulatedFiles::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

void SimulatedFiles::FailAt(int64_t operation, Status why, int64_t times) {
  std::lock_guard lock(mutex_);
  fail_from_ = operation;
  fail_until_ = operation + times;
  failure_ = std::move(why);
}

void SimulatedFiles::GoDownAt(int64_t operation) {
  std::lock_guard lock(mutex_);
  down_at_ = operation;
}

void SimulatedFiles::SetRoom(size_t bytes) {
  std::lock_guard lock(mutex_);
  room_ = bytes;
}

void SimulatedFiles::OnRead(std::function<Status(const std::string& path)> on_read) {
  std::lock_guard lock(mutex_);
  on_read_ = std::move(on_read);
}

void SimulatedFiles::FlipBit(const std::string& path, size_t byte) {
  std::lock_guard lock(mutex_);
  names_.at(path)->bytes.at(byte) ^= 1;
}

void SimulatedFiles::Restart(Random& random) {
  std::lock_guard lock(mutex_);
  is_down_ = false;
  down_at_ = 0;
  ++starts_;
  std::map<std::string, NodeRef> found;
  auto keep = [&](const std::string& path, const NodeRef& node) {
    const std::string folder = FolderOf(path);
    if (folder.empty() || found.contains(folder)) found[path] = node;
  };
  // In ascending order a folder comes before what is in it.
  auto now = names_.begin();
  auto safe = safe_names_.begin();
  while (now != names_.end() || safe != safe_names_.end()) {
    const bool is_now =
        now != names_.end() && (safe == safe_names_.end() || now->first <= safe->first);
    const bool is_safe =
        safe != safe_names_.end() && (now == names_.end() || safe->first <= now->first);
    const bool takes_new = random.OneIn(2);
    if (is_now && (takes_new || (is_safe && safe->second == now->second))) {
      keep(now->first, now->second);
    } else if (is_safe && !takes_new) {
      keep(safe->first, safe->second);
    }
    if (is_now) ++now;
    if (is_safe) ++safe;
  }
  for (auto& [path, node] : found) {
    // Of what wasn't synced a part may have its length and not its bytes.
    if (random.OneIn(3)) node->synced = node->bytes.size();
    const size_t unsynced = node->bytes.size() - node->synced;
    node->bytes.resize(node->synced + random.Below(unsynced + 1));
    const size_t written = node->synced + random.Below(node->bytes.size() - node->synced + 1);
    std::fill(node->bytes.begin() + static_cast<ptrdiff_t>(written), node->bytes.end(), '\0');
    node->synced = node->bytes.size();
  }
  names_ = found;
  safe_names_ = std::move(found);
}

Status SimulatedFiles::Begin(size_t* goes_down_after, size_t bytes) {
  if (is_down_) return Down();
  ++operations_;
  if (operations_ == down_at_) {
    is_down_ = true;
    if (goes_down_after != nullptr) *goes_down_after = bytes / 2;
    return Down();
  }
  if (operations_ >= fail_from_ && operations_ < fail_until_) return failure_;
  return OkStatus();
}

Status SimulatedFiles::NeedsFolderOf(const std::string& path) const {
  const std::string folder = FolderOf(path);
  auto found = names_.find(folder);
  if (folder.empty() || (found != names_.end() && found->second->is_folder)) return OkStatus();
  return Unavailable("there is no folder " + folder);
}

Result<SimulatedFiles::NodeRef> SimulatedFiles::Make(const std::string& path) {
  RETURN_IF_ERROR(NeedsFolderOf(path));
  RETURN_IF_ERROR(Begin());
  return names_[path] = std::make_shared<Node>();
}

Status SimulatedFiles::Write(Node& node, std::string_view bytes) {
  size_t part = 0;
  if (Status begun = Begin(&part, bytes.size()); !begun.ok()) {
    node.bytes.append(bytes.substr(0, part));
    return begun;
  }
  if (room_.has_value()) {
    size_t used = 0;
    for (const auto& [path, other] : names_) used += other->bytes.size();
    const size_t fits = *room_ > used ? *room_ - used : 0;
    if (fits < bytes.size()) {
      node.bytes.append(bytes.substr(0, fits));
      return ResourceExhausted("the disk is full");
    }
  }
  node.bytes.append(bytes);
  return OkStatus();
}

Status SimulatedFiles::Sync(Node& node) {
  RETURN_IF_ERROR(Begin());
  node.synced = node.bytes.size();
  return OkStatus();
}

Status SimulatedFiles::SyncNames(const std::string& folder) {
  RETURN_IF_ERROR(Begin());
  std::erase_if(safe_names_, [&](const auto& name) { return FolderOf(name.first) == folder; });
  for (const auto& [path, node] : names_) {
    if (FolderOf(path) == folder) safe_names_[path] = node;
  }
  return OkStatus();
}

Status SimulatedFiles::BeginReading(const std::string& path) {
  std::function<Status(const std::string&)> on_read;
  {
    std::lock_guard lock(mutex_);
    if (is_down_) return Down();
    on_read = on_read_;
  }
  return on_read ? on_read(path) : OkStatus();
}

Result<bool> SimulatedFiles::Exists(const std::string& path) {
  RETURN_IF_ERROR(BeginReading(path));
  std::lock_guard lock(mutex_);
  return names_.contains(path);
}

Result<std::string> SimulatedFiles::Read(const std::string& path) {
  return ReadPart(path, 0, std::string::npos);
}

Result<std::string> SimulatedFiles::ReadPart(const std::string& path, uint64_t offset,
                                             size_t bytes) {
  RETURN_IF_ERROR(BeginReading(path));
  std::lock_guard lock(mutex_);
  auto found = names_.find(path);
  if (found == names_.end() || found->second->is_folder) return Unavailable("there is no " + path);
  const std::string& content = found->second->bytes;
  return offset < content.size() ? content.substr(offset, bytes) : std::string();
}

Result<std::unique_ptr<AppendFile>> SimulatedFiles::OpenForAppend(const std::string& path) {
  std::lock_guard lock(mutex_);
  auto found = names_.find(path);
  if (found != names_.end()) {
    if (is_down_) return Down();
    return std::unique_ptr<AppendFile>(std::make_unique<File>(*this, found->second));
  }
  ASSIGN_OR_RETURN(NodeRef node, Make(path));
  return std::unique_ptr<AppendFile>(std::make_unique<File>(*this, std::move(node)));
}

Result<std::unique_ptr<AppendFile>> SimulatedFiles::Create(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (names_.contains(path)) return Aborted(path + " is there already");
  ASSIGN_OR_RETURN(NodeRef node, Make(path));
  return std::unique_ptr<AppendFile>(std::make_unique<File>(*this, std::move(node)));
}

Result<std::string> SimulatedFiles::WriteBeside(const std::string& path, std::string_view bytes) {
  std::string temporary = path + ".tmp." + std::to_string(operations_);
  auto write = [&]() -> Status {
    ASSIGN_OR_RETURN(NodeRef node, Make(temporary));
    RETURN_IF_ERROR(Write(*node, bytes));
    return Sync(*node);
  };
  Status written = write();
  if (written.ok()) return temporary;
  if (!is_down_) names_.erase(temporary);
  return written;
}

Status SimulatedFiles::Replace(const std::string& path, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(std::string temporary, WriteBeside(path, bytes));
  if (Status renamed = Begin(); !renamed.ok()) {
    if (!is_down_) names_.erase(temporary);
    return renamed;
  }
  names_[path] = names_[temporary];
  names_.erase(temporary);
  return SyncNames(FolderOf(path));
}

Status SimulatedFiles::CreateExclusively(const std::string& path, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(std::string temporary, WriteBeside(path, bytes));
  Status linked = names_.contains(path) ? Aborted(path + " is there already") : Begin();
  if (linked.ok()) names_[path] = names_[temporary];
  if (!is_down_) names_.erase(temporary);
  RETURN_IF_ERROR(linked);
  return SyncNames(FolderOf(path));
}

Status SimulatedFiles::MakeFolder(const std::string& path) {
  std::lock_guard lock(mutex_);
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    auto found = names_.find(folder);
    if (found == names_.end()) {
      RETURN_IF_ERROR(Begin());
      names_[folder] = std::make_shared<Node>();
      names_[folder]->is_folder = true;
    } else if (!found->second->is_folder) {
      return InvalidArgument(folder + " is a file");
    }
    if (end == std::string::npos) return is_down_ ? Down() : OkStatus();
  }
}

Status SimulatedFiles::SyncFolder(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(NeedsFolderOf(path + "/"));
  return SyncNames(path);
}

Result<std::vector<std::string>> SimulatedFiles::List(const std::string& folder) {
  RETURN_IF_ERROR(BeginReading(folder));
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(NeedsFolderOf(folder + "/"));
  std::vector<std::string> listed;
  for (const auto& [path, node] : names_) {
    if (FolderOf(path) == folder) listed.push_back(path.substr(folder.size() + 1));
  }
  return listed;
}

Result<UniqueFd> SimulatedFiles::Lock(const std::string& path) {
  return Unavailable("no locks here: " + path);
}

Status SimulatedFiles::Remove(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin());
  names_.erase(path);
  return OkStatus();
}

Status SimulatedFiles::RemoveFolder(const std::string& path) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Begin());
  auto inside = names_.lower_bound(path + "/");
  if (inside != names_.end() && inside->first.starts_with(path + "/")) {
    return Internal("the folder " + path + " isn't empty");
  }
  names_.erase(path);
  return OkStatus();
}

}  // namespace closeranks
