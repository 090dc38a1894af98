#include "elastic/checkpoint/store.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <map>
#include <utility>

#include "elastic/checkpoint/safetensors.h"

namespace closeranks::elastic {
namespace {

constexpr char kManifest[] = "manifest.json";
constexpr char kLineage[] = "lineage.json";
// What stands in a shard's metadata before a tensor's name.
constexpr char kChecksumOf[] = "checksum:";

std::string Padded(const char* format, uint64_t number) {
  char text[40];
  std::snprintf(text, sizeof(text), format, static_cast<unsigned long long>(number));
  return text;
}

std::string LineageFolder(int64_t number) {
  return Padded("lineage-%06llu", static_cast<uint64_t>(number));
}

std::string ShardFile(int shard, int shards) {
  return Padded("shard-%05llu", static_cast<uint64_t>(shard) + 1) +
         Padded("-of-%05llu.safetensors", static_cast<uint64_t>(shards));
}

// PREFIXnumberSUFFIX, where a suffix is given.
template <typename T>
bool ParseName(std::string_view& text, std::string_view prefix, T& number) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

std::string FolderAbove(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, slash));
}

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsStep(const std::string& name) { return name.starts_with("step-"); }

}  // namespace

std::string CheckpointName::ToString() const {
  return LineageFolder(lineage) + "/" + Padded("step-%010llu", step) + ".g" +
         std::to_string(generation);
}

std::string CheckpointStore::PathOf(const CheckpointName& name) const {
  return folder_ + "/" + name.ToString();
}

Result<std::vector<Lineage>> CheckpointStore::Lineages() const {
  std::vector<Lineage> lineages;
  // Only what isn't there may be passed over: what can't be read for a while still counts.
  ASSIGN_OR_RETURN(bool is_there, files_.Exists(folder_));
  if (!is_there) return lineages;
  ASSIGN_OR_RETURN(std::vector<std::string> names, files_.List(folder_));
  for (const std::string& name : names) {
    std::string_view rest = name;
    int64_t number = 0;
    if (!ParseName(rest, "lineage-", number) || !rest.empty()) continue;
    const std::string record = folder_ + "/" + name + "/" + kLineage;
    ASSIGN_OR_RETURN(bool has_record, files_.Exists(record));
    if (!has_record) {
      // A start was lost between making the folder and the record, unless it has written more.
      ASSIGN_OR_RETURN(std::vector<std::string> inside, files_.List(folder_ + "/" + name));
      if (std::none_of(inside.begin(), inside.end(), IsStep)) continue;
      return InvalidArgument(folder_ + "/" + name + " has checkpoints, but their " + kLineage +
                             " is gone, so what they are worth isn't known: put it back, or move "
                             "the folder away");
    }
    ASSIGN_OR_RETURN(std::string text, files_.Read(record));
    auto lineage = DecodeLineage(text);
    if (!lineage.ok() || lineage->number != number) {
      return InvalidArgument(record + " isn't the record of that lineage");
    }
    lineages.push_back(*lineage);
  }
  std::sort(lineages.begin(), lineages.end(),
            [](const Lineage& a, const Lineage& b) { return a.number < b.number; });
  return lineages;
}

Result<std::vector<CheckpointName>> CheckpointStore::Find(bool whole) const {
  std::vector<CheckpointName> found;
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, Lineages());
  for (const Lineage& lineage : lineages) {
    const std::string folder = folder_ + "/" + LineageFolder(lineage.number);
    ASSIGN_OR_RETURN(std::vector<std::string> names, files_.List(folder));
    for (const std::string& text : names) {
      std::string_view rest = text;
      CheckpointName name{.lineage = lineage.number};
      if (!ParseName(rest, "step-", name.step) || !ParseName(rest, ".g", name.generation)) continue;
      ASSIGN_OR_RETURN(std::vector<std::string> inside, files_.List(folder + "/" + text));
      if (Contains(inside, kManifest) == whole) found.push_back(name);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<std::vector<CheckpointName>> CheckpointStore::Whole() const { return Find(true); }
Result<std::vector<CheckpointName>> CheckpointStore::Torn() const { return Find(false); }

Result<CheckpointStore::Line> CheckpointStore::NewestLine(int64_t before) const {
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, Lineages());
  std::erase_if(lineages, [&](const Lineage& lineage) { return lineage.number >= before; });
  Line line;
  if (!lineages.empty()) line[lineages.back().number] = ~StepNumber{0};
  for (auto lineage = lineages.rbegin(); lineage != lineages.rend(); ++lineage) {
    auto child = line.find(lineage->number);
    if (child == line.end() || lineage->parent == 0) continue;
    line[lineage->parent] = std::min(child->second, lineage->step);
  }
  return line;
}

Result<bool> CheckpointStore::IsWhole(const CheckpointName& name) const {
  return files_.Exists(PathOf(name) + "/" + kManifest);
}

Result<std::vector<CheckpointName>> CheckpointStore::Candidates(int64_t before) const {
  ASSIGN_OR_RETURN(Line line, NewestLine(before));
  ASSIGN_OR_RETURN(std::vector<CheckpointName> candidates, Whole());
  std::erase_if(candidates, [&](const CheckpointName& name) {
    auto counted = line.find(name.lineage);
    return counted == line.end() || name.step > counted->second;
  });
  std::reverse(candidates.begin(), candidates.end());
  return candidates;
}

Result<Manifest> CheckpointStore::ReadManifest(const CheckpointName& name) const {
  const std::string path = PathOf(name) + "/" + kManifest;
  ASSIGN_OR_RETURN(std::string text, files_.Read(path));
  auto manifest = DecodeManifest(text);
  if (!manifest.ok()) return manifest.status().WithContext(path);
  if (manifest->step != name.step || manifest->lineage.number != name.lineage ||
      manifest->generation != name.generation) {
    return InvalidArgument(path + ": it is another checkpoint's");
  }
  return manifest;
}

Result<StoredState> CheckpointStore::Read(const CheckpointName& name) const {
  StoredState stored;
  ASSIGN_OR_RETURN(stored.manifest, ReadManifest(name));
  stored.id = Checksum(EncodeManifest(stored.manifest));
  std::map<std::string, Piece> pieces;  // by "file\ntensor"
  stored.files.reserve(stored.manifest.files.size());
  for (const std::string& file : stored.manifest.files) {
    const std::string path = PathOf(name) + "/" + file;
    ASSIGN_OR_RETURN(std::string bytes, files_.Read(path));
    stored.files.push_back(std::move(bytes));
    auto decoded = DecodeSafetensors(stored.files.back());
    if (!decoded.ok()) return decoded.status().WithContext(path);
    for (Piece& piece : decoded->pieces) pieces[file + "\n" + piece.name] = std::move(piece);
  }
  for (const Manifest::Tensor& tensor : stored.manifest.tensors) {
    const std::string what = PathOf(name) + "/" + tensor.file + ": '" + tensor.piece.name + "'";
    auto piece = pieces.find(tensor.file + "\n" + tensor.piece.name);
    if (piece == pieces.end()) return InvalidArgument(what + " is missing");
    if (piece->second.Kind() != tensor.piece.Kind()) {
      return InvalidArgument(what + " is " + piece->second.Kind() + " and should be " +
                             tensor.piece.Kind());
    }
    if (Checksum(piece->second.bytes) != tensor.checksum) {
      return InvalidArgument(what + " isn't what was written: its checksum is another");
    }
    stored.pieces.push_back(piece->second);
  }
  return stored;
}

Result<Lineage> CheckpointStore::BeginLineage(int64_t parent, StepNumber step) const {
  RETURN_IF_ERROR(files_.MakeFolder(folder_));
  // Who may not read the folder above it can't sync it, and has made it long before, mostly.
  (void)files_.SyncFolder(FolderAbove(folder_));
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, Lineages());
  Lineage next{(lineages.empty() ? 0 : lineages.back().number) + 1, parent, step};
  while (true) {
    const std::string folder = folder_ + "/" + LineageFolder(next.number);
    RETURN_IF_ERROR(files_.MakeFolder(folder));
    RETURN_IF_ERROR(files_.SyncFolder(folder_));
    Status created = files_.CreateExclusively(folder + "/" + kLineage, EncodeLineage(next));
    if (created.ok()) return next;
    if (created.code() != StatusCode::kAborted) return created;
    ++next.number;
  }
}

Status CheckpointStore::WriteShard(const CheckpointName& name, int shard, int shards,
                                   std::span<const Piece> pieces) const {
  const std::string path = PathOf(name);
  RETURN_IF_ERROR(files_.MakeFolder(path));
  Metadata metadata = {{"format", "pt"}};  // some readers want to hear it
  for (const Piece& piece : pieces) metadata[kChecksumOf + piece.name] = Checksum(piece.bytes);
  ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file,
                   files_.Create(path + "/" + ShardFile(shard, shards)));
  RETURN_IF_ERROR(file->Append(SafetensorsHead(pieces, metadata)));
  for (const Piece& piece : pieces) RETURN_IF_ERROR(file->Append(piece.bytes));
  RETURN_IF_ERROR(file->Sync());
  RETURN_IF_ERROR(files_.SyncFolder(path));
  return files_.SyncFolder(folder_ + "/" + LineageFolder(name.lineage));
}

// Adds what the shard's head says.
Status CheckpointStore::AddShard(const std::string& path, const std::string& file,
                                 Manifest& manifest) const {
  auto prefix = files_.ReadPart(path + "/" + file, 0, kSafetensorsPrefix);
  if (!prefix.ok()) {
    return prefix.status().WithContext("is the checkpoint folder the same on every host?");
  }
  ASSIGN_OR_RETURN(uint64_t head_bytes, SafetensorsHeadBytes(*prefix));
  ASSIGN_OR_RETURN(std::string head, files_.ReadPart(path + "/" + file, 0, head_bytes));
  ASSIGN_OR_RETURN(Safetensors shard, DecodeSafetensorsHead(head));
  for (Piece& piece : shard.pieces) {
    auto checksum = shard.metadata.find(kChecksumOf + piece.name);
    if (checksum == shard.metadata.end()) return InvalidArgument(path + ": not a shard");
    manifest.tensors.push_back({std::move(piece), file, checksum->second});
  }
  manifest.files.push_back(file);
  return OkStatus();
}

Status CheckpointStore::Commit(Manifest manifest, const std::vector<std::string>& expected) const {
  const CheckpointName name{manifest.lineage.number, manifest.step, manifest.generation};
  for (int shard = 0; shard < manifest.world; ++shard) {
    RETURN_IF_ERROR(AddShard(PathOf(name), ShardFile(shard, manifest.world), manifest));
  }
  std::vector<std::string> wanted = expected, written;
  for (const Manifest::Tensor& tensor : manifest.tensors) written.push_back(tensor.piece.name);
  std::sort(wanted.begin(), wanted.end());
  std::sort(written.begin(), written.end());
  if (wanted != written) {
    return Internal("the shards in " + PathOf(name) + " have " + std::to_string(written.size()) +
                    " tensors, which aren't the run's " + std::to_string(wanted.size()));
  }
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, Lineages());
  if (lineages.empty()) return Unavailable(folder_ + " is gone, with the record of this lineage");
  if (lineages.back().number > name.lineage) {
    return StaleGeneration("another start of this run goes on from its checkpoints in " + folder_ +
                           ": this one is lineage " + std::to_string(name.lineage) +
                           ", the newest is " + std::to_string(lineages.back().number));
  }
  return files_.Replace(PathOf(name) + "/" + kManifest, EncodeManifest(manifest));
}

Status CheckpointStore::RemoveOne(const CheckpointName& name) const {
  const std::string path = PathOf(name);
  // Without its manifest it isn't one any more, whatever becomes of the rest.
  RETURN_IF_ERROR(files_.Remove(path + "/" + kManifest));
  RETURN_IF_ERROR(files_.SyncFolder(path));
  ASSIGN_OR_RETURN(std::vector<std::string> names, files_.List(path));
  for (const std::string& file : names) RETURN_IF_ERROR(files_.Remove(path + "/" + file));
  return files_.RemoveFolder(path);
}

Status CheckpointStore::RemoveOld(int keep) const {
  ASSIGN_OR_RETURN(Line line, NewestLine());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> kept, Candidates());
  if (kept.empty()) return OkStatus();
  kept.resize(std::min(kept.size(), static_cast<size_t>(keep)));
  ASSIGN_OR_RETURN(std::vector<CheckpointName> old, Whole());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> torn, Torn());
  // What is being written is later than the newest.
  std::copy_if(torn.begin(), torn.end(), std::back_inserter(old),
               [&](const CheckpointName& name) { return name < kept.front(); });
  Status result;
  for (const CheckpointName& name : old) {
    const bool is_kept = std::find(kept.begin(), kept.end(), name) != kept.end();
    if (is_kept || !line.contains(name.lineage)) continue;
    ASSIGN_OR_RETURN(Line line_now, NewestLine());
    if (line_now != line) return result;
    Status removed = RemoveOne(name);
    if (result.ok()) result = removed;
  }
  return result;
}

}  // namespace closeranks::elastic
