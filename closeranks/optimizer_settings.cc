#include "closeranks/optimizer_settings.h"

#include <ATen/core/ivalue.h>
#include <c10/util/Type.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <typeinfo>
#include <vector>

#include "base/random.h"

namespace closeranks {
namespace {

// A handshake's message holds it, with room to spare.
constexpr size_t kLongest = 4096;

// The shortest that gives the same bits again.
std::string Text(double value) {
  std::array<char, 32> digits;
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

// Without a space, as it is one word.
std::string Text(const c10::IValue& value) {
  if (value.isDouble()) return Text(value.toDouble());
  if (value.isTuple()) {
    std::string text;
    for (const c10::IValue& element : value.toTupleRef().elements()) {
      text += (text.empty() ? "(" : ",") + Text(element);
    }
    return text + ")";
  }
  std::ostringstream out;
  out << value;
  std::string text = out.str();
  std::erase(text, ' ');
  return text;
}

// An archive can only be read once it was saved.
torch::serialize::InputArchive Saved(torch::serialize::OutputArchive& written) {
  std::stringstream stream;
  written.save_to(stream);
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  return archive;
}

// " PREFIXname=value" for each option.
std::string OptionWords(const torch::optim::OptimizerOptions& options, const std::string& prefix) {
  // Every archive has attributes of its own.
  torch::serialize::OutputArchive empty, written;
  const std::vector<std::string> own = Saved(empty).keys();
  options.serialize(written);
  torch::serialize::InputArchive archive = Saved(written);
  std::string words;
  for (const std::string& name : archive.keys()) {
    if (std::find(own.begin(), own.end(), name) != own.end()) continue;
    c10::IValue value;
    archive.read(name, value);
    words += " " + prefix + name + "=" + Text(value);
  }
  return words;
}

uint64_t Hash(std::string_view text) {
  uint64_t hash = 0;
  for (char c : text) hash = MixBits(hash ^ static_cast<unsigned char>(c));
  return hash;
}

}  // namespace

std::string OptimizerSettings(const torch::optim::Optimizer& optimizer) {
  std::string words = "optimizer=" + c10::demangle(typeid(optimizer).name());
  const auto& groups = optimizer.param_groups();
  for (size_t i = 0; i < groups.size(); ++i) {
    const std::string prefix = groups.size() == 1 ? "" : "group" + std::to_string(i + 1) + ".";
    words += " " + prefix + "tensors=" + std::to_string(groups[i].params().size());
    words += OptionWords(groups[i].options(), prefix);
  }
  if (words.size() <= kLongest) return words;
  const std::string_view rest = std::string_view(words).substr(kLongest);
  return words.substr(0, kLongest) + " rest=" + std::to_string(Hash(rest));
}

}  // namespace closeranks
