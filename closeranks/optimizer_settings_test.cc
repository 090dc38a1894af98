#include "closeranks/optimizer_settings.h"

#include <ATen/ops/zeros.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include "gtest/gtest.h"

namespace closeranks {
namespace {

using torch::optim::Adam;
using torch::optim::AdamOptions;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGD;
using torch::optim::SGDOptions;

std::vector<at::Tensor> Parameters(int count) {
  std::vector<at::Tensor> parameters;
  for (int i = 0; i < count; ++i) parameters.push_back(at::zeros({2}).requires_grad_());
  return parameters;
}

// A user's own, which a wrong program may run on some ranks only.
class OwnAdam final : public Adam {
 public:
  using Adam::Adam;
};

TEST(OptimizerSettings, NameTheClassAndEveryOptionReadably) {
  const std::string text = OptimizerSettings(Adam(Parameters(3), AdamOptions(0.003)));
  EXPECT_EQ(text,
            "optimizer=torch::optim::Adam tensors=3 lr=0.003 betas=(0.9,0.999) eps=1e-08 "
            "weight_decay=0 amsgrad=False");
}

TEST(OptimizerSettings, DifferWhereverAnOptionDiffers) {
  const std::string text = OptimizerSettings(SGD(Parameters(1), SGDOptions(0.1)));
  EXPECT_EQ(text, OptimizerSettings(SGD(Parameters(1), SGDOptions(0.1))));
  for (const SGDOptions& other :
       {SGDOptions(0.1000000001), SGDOptions(0.1).momentum(0.9), SGDOptions(0.1).dampening(0.1),
        SGDOptions(0.1).weight_decay(1e-9)}) {
    EXPECT_NE(text, OptimizerSettings(SGD(Parameters(1), other)));
  }
  EXPECT_NE(OptimizerSettings(Adam(Parameters(1), AdamOptions(0.1))),
            OptimizerSettings(OwnAdam(Parameters(1), AdamOptions(0.1))));
}

TEST(OptimizerSettings, NameEachGroupOfParameters) {
  SGD optimizer({OptimizerParamGroup(Parameters(2)),
                 OptimizerParamGroup(Parameters(1), std::make_unique<SGDOptions>(0.25))},
                SGDOptions(0.5));
  const std::string text = OptimizerSettings(optimizer);
  EXPECT_NE(text.find(" group1.tensors=2 group1.lr=0.5 "), std::string::npos) << text;
  EXPECT_NE(text.find(" group2.tensors=1 group2.lr=0.25 "), std::string::npos) << text;
}

TEST(OptimizerSettings, ThoseOfManyGroupsStayShortAndStillDiffer) {
  auto with_last = [](double learning_rate) {
    std::vector<OptimizerParamGroup> groups(200, OptimizerParamGroup(Parameters(1)));
    groups.back().set_options(std::make_unique<SGDOptions>(learning_rate));
    return OptimizerSettings(SGD(groups, SGDOptions(0.5)));
  };
  EXPECT_LT(with_last(0.1).size(), 5000u);
  EXPECT_NE(with_last(0.1), with_last(0.2));
}

}  // namespace
}  // namespace closeranks
