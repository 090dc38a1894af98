#include "examples/fashion_mnist/dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <utility>

#include "examples/fashion_mnist/idx_file.h"

namespace closeranks::examples {
namespace {

constexpr int64_t kSide = 28;
constexpr int64_t kPixels = kSide * kSide;

constexpr char kRemedy[] =
    " (remedy: apt-get install dataset-fashion-mnist, or name a folder with its four .gz files)";

Result<IdxFile> Read(const std::string& path) {
  Result<IdxFile> idx = ReadIdxFile(path);
  if (idx.ok()) return idx;
  return Status(idx.status().code(), idx.status().message() + kRemedy);
}

std::array<float, 256> MakeScale() {
  constexpr float kMean = 0.2860f, kDeviation = 0.3530f;  // of the training set
  std::array<float, 256> scale;
  for (int value = 0; value < 256; ++value) {
    scale[value] = (static_cast<float>(value) / 255.0f - kMean) / kDeviation;
  }
  return scale;
}

}  // namespace

Result<Dataset> Dataset::Load(const std::string& folder, Split split) {
  const std::string prefix = folder + (split == Split::kTrain ? "/train" : "/t10k");
  const std::string image_path = prefix + "-images-idx3-ubyte.gz";
  const std::string label_path = prefix + "-labels-idx1-ubyte.gz";
  ASSIGN_OR_RETURN(IdxFile images, Read(image_path));
  ASSIGN_OR_RETURN(IdxFile labels, Read(label_path));
  if (images.dimensions.size() != 3 || images.dimensions[1] != kSide ||
      images.dimensions[2] != kSide) {
    return InvalidArgument(image_path + " doesn't hold pictures of 28 x 28" + kRemedy);
  }
  if (labels.dimensions != std::vector<int64_t>{images.dimensions[0]}) {
    return InvalidArgument(label_path + " doesn't hold one label for each picture of " +
                           image_path + kRemedy);
  }
  if (std::ranges::any_of(labels.values, [](uint8_t label) { return label > 9; })) {
    return InvalidArgument(label_path + " holds a label that is not 0 to 9" + kRemedy);
  }
  return Dataset(std::move(images.values), std::move(labels.values));
}

Dataset::Dataset(std::vector<uint8_t> pixels, std::vector<uint8_t> labels)
    : pixels_(std::move(pixels)), labels_(std::move(labels)), scale_(MakeScale()) {}

Batch Dataset::Get(std::span<const int64_t> ids) const {
  const int64_t count = static_cast<int64_t>(ids.size());
  Batch batch = {at::empty({count, 1, kSide, kSide}, at::kFloat), at::empty({count}, at::kLong)};
  float* pixel = batch.images.mutable_data_ptr<float>();
  int64_t* label = batch.labels.mutable_data_ptr<int64_t>();
  for (int64_t id : ids) {
    const uint8_t* from = pixels_.data() + id * kPixels;
    pixel = std::transform(from, from + kPixels, pixel,
                           [this](uint8_t value) { return scale_[value]; });
    *label++ = labels_[id];
  }
  return batch;
}

}  // namespace closeranks::examples
