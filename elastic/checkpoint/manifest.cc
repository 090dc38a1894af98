#include "elastic/checkpoint/manifest.h"

#include <concepts>
#include <utility>

#include "base/hexadecimal.h"
#include "nlohmann/json.hpp"
#include "xxhash.h"

namespace closeranks::elastic {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "closeranks checkpoint 1";
constexpr char kChecksum[] = "checksum";

std::string Text(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Reads the fields of an object that must have exactly these, in any order.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json), ok_(json.is_object()) {}

  void Read(const char* name, std::string& value) {
    const Json* field = Find(name);
    if (field != nullptr && field->is_string()) {
      value = field->get<std::string>();
    } else {
      ok_ = false;
    }
  }
  template <typename T>
    requires std::integral<T>
  void Read(const char* name, T& value) {
    const Json* field = Find(name);
    if (field != nullptr && field->is_number_unsigned() &&
        std::in_range<T>(field->get<uint64_t>())) {
      value = field->get<T>();
    } else {
      ok_ = false;
    }
  }
  // An empty one when it isn't an array.
  const Json& Array(const char* name) {
    static const Json empty = Json::array();
    const Json* field = Find(name);
    if (field != nullptr && field->is_array()) return *field;
    ok_ = false;
    return empty;
  }
  bool AllRead() const { return ok_ && json_.size() == read_; }

 private:
  const Json* Find(const char* name) {
    if (!json_.is_object()) return nullptr;
    auto found = json_.find(name);
    if (found == json_.end()) return nullptr;
    ++read_;
    return &*found;
  }

  const Json& json_;
  bool ok_;
  size_t read_ = 0;
};

Status Bad(const std::string& what) { return InvalidArgument("not a manifest: " + what); }

Result<Manifest::Tensor> ReadTensor(const Json& json) {
  Manifest::Tensor tensor;
  Fields fields(json);
  std::string type;
  fields.Read("name", tensor.piece.name);
  fields.Read("dtype", type);
  for (const Json& size : fields.Array("shape")) {
    if (!size.is_number_unsigned()) return Bad("a shape that is none");
    tensor.piece.shape.push_back(size.get<int64_t>());
  }
  fields.Read("file", tensor.file);
  fields.Read(kChecksum, tensor.checksum);
  auto found = FindElementType(type);
  if (!fields.AllRead() || !found.has_value()) return Bad("a tensor that isn't described");
  tensor.piece.type = *found;
  if (!TensorBytes(tensor.piece.type, tensor.piece.shape).has_value()) return Bad("a huge tensor");
  return tensor;
}

}  // namespace

std::string Checksum(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return Hexadecimal(hash.high64) + Hexadecimal(hash.low64);
}

std::string EncodeLineage(const Lineage& lineage) {
  return Text(
      {{"lineage", lineage.number}, {"parent", lineage.parent}, {"from_step", lineage.step}});
}

Result<Lineage> DecodeLineage(std::string_view bytes) {
  const Json json = Json::parse(bytes.begin(), bytes.end(), nullptr, false);
  Lineage lineage;
  Fields fields(json);
  fields.Read("lineage", lineage.number);
  fields.Read("parent", lineage.parent);
  fields.Read("from_step", lineage.step);
  if (!fields.AllRead() || lineage.number <= lineage.parent) {
    return InvalidArgument("not the record of a lineage");
  }
  return lineage;
}

bool Manifest::Tensor::operator==(const Tensor& other) const {
  return piece.name == other.piece.name && piece.type == other.piece.type &&
         piece.shape == other.piece.shape && file == other.file && checksum == other.checksum;
}

uint64_t Manifest::bytes() const {
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += *TensorBytes(tensor.piece.type, tensor.piece.shape);
  return bytes;
}

std::string EncodeManifest(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"step", manifest.step},
               {"epoch", manifest.epoch},
               {"lineage", manifest.lineage.number},
               {"parent", manifest.lineage.parent},
               {"from_step", manifest.lineage.step},
               {"generation", manifest.generation},
               {"world", manifest.world},
               {"written_at", manifest.written_at},
               {"run", manifest.run},
               {"files", manifest.files},
               {"tensors", Json::array()}};
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    json["tensors"].push_back({{"name", tensor.piece.name},
                               {"dtype", ElementTypeName(tensor.piece.type)},
                               {"shape", tensor.piece.shape},
                               {"file", tensor.file},
                               {kChecksum, tensor.checksum}});
  }
  json[kChecksum] = Checksum(Text(json));
  return Text(json);
}

Result<Manifest> DecodeManifest(std::string_view bytes) {
  Json json = Json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Bad("it isn't a JSON object");
  Manifest manifest;
  Fields fields(json);
  std::string format, checksum;
  fields.Read("format", format);
  if (format != kFormat) return Bad("it isn't of the format '" + std::string(kFormat) + "'");
  fields.Read("step", manifest.step);
  fields.Read("epoch", manifest.epoch);
  fields.Read("lineage", manifest.lineage.number);
  fields.Read("parent", manifest.lineage.parent);
  fields.Read("from_step", manifest.lineage.step);
  fields.Read("generation", manifest.generation);
  fields.Read("world", manifest.world);
  fields.Read("written_at", manifest.written_at);
  fields.Read("run", manifest.run);
  for (const Json& file : fields.Array("files")) {
    if (!file.is_string()) return Bad("a file without a name");
    manifest.files.push_back(file.get<std::string>());
  }
  for (const Json& tensor : fields.Array("tensors")) {
    ASSIGN_OR_RETURN(Manifest::Tensor read, ReadTensor(tensor));
    manifest.tensors.push_back(std::move(read));
  }
  fields.Read(kChecksum, checksum);
  if (!fields.AllRead()) return Bad("a field is missing, or isn't known");
  json.erase(kChecksum);
  if (Checksum(Text(json)) != checksum) return Bad("its checksum is wrong");
  return manifest;
}

}  // namespace closeranks::elastic
