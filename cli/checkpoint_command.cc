#include "cli/checkpoint_command.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <vector>

#include "elastic/checkpoint/store.h"

namespace closeranks::cli {
namespace {

using elastic::CheckpointName;
using elastic::CheckpointStore;
using elastic::Lineage;
using elastic::Manifest;

constexpr char kHelp[] =
    "usage: closeranks checkpoint ls FOLDER\n"
    "       closeranks checkpoint verify FOLDER\n"
    "       closeranks checkpoint show FOLDER [CHECKPOINT]\n\n"
    "FOLDER is what a training program was given as --checkpoint-folder. ls lists the starts of "
    "the\n"
    "run and their checkpoints: 'usable' are those that the next start may go on from, newest "
    "last;\n"
    "'void' were left behind when a start went on from an earlier one; 'torn' were never "
    "finished.\n"
    "verify reads all of them and checks every tensor's checksum; torn ones it only names. show "
    "lists\n"
    "the tensors of one, the newest usable by default.\n\n"
    "Ends with 0, 1 when verify found one that isn't as it was written, 2 when there is none.\n";

bool Contains(const std::vector<CheckpointName>& names, const CheckpointName& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string TimeText(int64_t seconds_since_1970) {
  if (seconds_since_1970 == 0) return "";
  const auto time = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text;
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

void PrintRow(std::ostream& out, const std::string& name, const std::string& state,
              const Result<Manifest>& manifest) {
  std::array<char, 160> row;
  if (manifest.ok()) {
    std::snprintf(row.data(), row.size(), "%-40s %-7s %6d %6d %8zu %14llu  %s\n", name.c_str(),
                  state.c_str(), manifest->epoch, manifest->world, manifest->tensors.size(),
                  static_cast<unsigned long long>(manifest->bytes()),
                  TimeText(manifest->written_at).c_str());
    out << row.data();
    return;
  }
  std::snprintf(row.data(), row.size(), "%-40s %-7s ", name.c_str(), state.c_str());
  out << row.data() << manifest.status().message() << "\n";
}

Status List(const CheckpointStore& store, std::ostream& out) {
  ASSIGN_OR_RETURN(std::vector<Lineage> lineages, store.Lineages());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> whole, store.Whole());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> torn, store.Torn());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> usable, store.Candidates());
  if (lineages.empty()) return Unavailable("no checkpoint in " + store.folder());
  std::array<char, 160> head;
  std::snprintf(head.data(), head.size(), "%-40s %-7s %6s %6s %8s %14s  %s\n", "checkpoint", "",
                "epoch", "ranks", "tensors", "bytes", "written (UTC)");
  out << head.data();
  for (const Lineage& lineage : lineages) {
    out << "lineage " << lineage.number << ", from "
        << (lineage.parent == 0 ? std::string("nothing")
                                : "step " + std::to_string(lineage.step) + " of lineage " +
                                      std::to_string(lineage.parent))
        << "\n";
    std::vector<CheckpointName> names = whole;
    names.insert(names.end(), torn.begin(), torn.end());
    std::sort(names.begin(), names.end());
    for (const CheckpointName& name : names) {
      if (name.lineage != lineage.number) continue;
      if (Contains(torn, name)) {
        out << name.ToString() << " torn\n";
        continue;
      }
      PrintRow(out, name.ToString(), Contains(usable, name) ? "usable" : "void",
               store.ReadManifest(name));
    }
  }
  return OkStatus();
}

Status Verify(const CheckpointStore& store, std::ostream& out, bool& all_verify) {
  ASSIGN_OR_RETURN(std::vector<CheckpointName> whole, store.Whole());
  ASSIGN_OR_RETURN(std::vector<CheckpointName> torn, store.Torn());
  for (const CheckpointName& name : whole) {
    auto stored = store.Read(name);
    all_verify &= stored.ok();
    out << name.ToString() << ": " << (stored.ok() ? "ok" : stored.status().message()) << "\n";
  }
  for (const CheckpointName& name : torn) {
    out << name.ToString() << ": torn, it was never finished\n";
  }
  if (whole.empty()) return Unavailable("no checkpoint in " + store.folder());
  return OkStatus();
}

Status Show(const CheckpointStore& store, const std::string& wanted, std::ostream& out) {
  ASSIGN_OR_RETURN(std::vector<CheckpointName> names,
                   wanted.empty() ? store.Candidates() : store.Whole());
  auto name = std::find_if(names.begin(), names.end(), [&](const CheckpointName& candidate) {
    return wanted.empty() || candidate.ToString() == wanted;
  });
  if (name == names.end()) {
    return Unavailable("no checkpoint " + wanted + (wanted.empty() ? "in " : " in ") +
                       store.folder() + " ('closeranks checkpoint ls' lists them)");
  }
  ASSIGN_OR_RETURN(Manifest manifest, store.ReadManifest(*name));
  out << name->ToString() << "\nstep " << manifest.step << " of a run with " << manifest.run
      << ", written by " << manifest.world << " ranks of generation " << manifest.generation
      << "\n";
  size_t longest = 0;
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    longest = std::max(longest, tensor.piece.name.size());
  }
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    std::string padded = tensor.piece.name;
    padded.resize(longest, ' ');
    out << padded << "  " << tensor.piece.Kind() << "  " << tensor.file << "\n";
  }
  return OkStatus();
}

}  // namespace

ExitCode CheckpointCommand(std::span<const std::string> arguments, Files& files, std::ostream& out,
                           std::ostream& err) {
  for (const std::string& word : arguments) {
    if (word != "--help" && word != "-h") continue;
    out << kHelp;
    return ExitCode::kOk;
  }
  const std::string verb = arguments.empty() ? "" : arguments[0];
  const bool is_show = verb == "show" && (arguments.size() == 2 || arguments.size() == 3);
  const bool is_other = (verb == "ls" || verb == "verify") && arguments.size() == 2;
  if ((!is_show && !is_other) || arguments[1].starts_with("-")) {
    err << kHelp;
    return ExitCode::kUsage;
  }
  const CheckpointStore store(files, arguments[1]);
  bool all_verify = true;
  Status done = verb == "ls"       ? List(store, out)
                : verb == "verify" ? Verify(store, out, all_verify)
                                   : Show(store, arguments.size() == 3 ? arguments[2] : "", out);
  if (!done.ok()) {
    err << "checkpoint: " << done.message() << "\n";
    return ExitCode::kUsage;
  }
  return all_verify ? ExitCode::kOk : ExitCode::kError;
}

}  // namespace closeranks::cli
