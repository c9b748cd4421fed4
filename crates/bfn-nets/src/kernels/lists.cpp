// See lists.h. The numbers of all tensors are divided into pieces, which the threads share.

#include "lists.h"

#include <algorithm>
#include <cmath>

#include "dispatch.h"

namespace {

using bfn::Tensors;

constexpr int64_t LARGEST_PIECE = 16384;

struct Piece {
  size_t tensor;
  int64_t begin, count;
};

std::vector<Piece> pieces(const Tensors &tensors) {
  std::vector<Piece> list;
  for (size_t tensor = 0; tensor < tensors.size(); ++tensor) {
    const int64_t numbers = tensors[tensor].numel();
    for (int64_t begin = 0; begin < numbers; begin += LARGEST_PIECE) {
      list.push_back({tensor, begin, std::min(LARGEST_PIECE, numbers - begin)});
    }
  }
  return list;
}

float *numbers(const at::Tensor &tensor, const Piece &piece) { return tensor.data_ptr<float>() + piece.begin; }

void expect_partners(const Tensors &tensors, const Tensors &others) {
  TORCH_CHECK(tensors.size() == others.size(), "expected ", tensors.size(), " tensors, found ", others.size());
  for (size_t t = 0; t < tensors.size(); ++t) {
    TORCH_CHECK(tensors[t].sizes() == others[t].sizes(), "expected ", tensors[t].sizes(), ", found ", others[t].sizes());
  }
}

// Calls `body` for each piece and its index.
template <typename Body> void for_each(const std::vector<Piece> &list, Body body) {
  bfn::parallel(static_cast<int64_t>(list.size()), [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) body(list[index], index);
  });
}

}  // namespace

namespace bfn {

bool all_plain(const Tensors &tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
  });
}

double norm(const Tensors &tensors) {
  const std::vector<Piece> list = pieces(tensors);
  std::vector<double> sums(list.size());
  for_each(list, [&](const Piece &piece, int64_t index) {
    sums[index] = kernels().sum_of_squares(numbers(tensors[piece.tensor], piece), piece.count);
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return std::sqrt(total);
}

void adamw(const Tensors &parameters, const Tensors &gradients, const Tensors &first, const Tensors &second,
           const AdamWConstants &constants) {
  const auto &[count, learning_rate, beta_1, beta_2, weight_decay, epsilon] = constants;
  const double kept = 1 - learning_rate * weight_decay, rate = learning_rate / (1 - std::pow(beta_1, count));
  const double correction = 1 / std::sqrt(1 - std::pow(beta_2, count));
  const auto narrow = [](double number) { return static_cast<float>(number); };
  const AdamW step{narrow(kept), narrow(beta_1), narrow(beta_2), narrow(rate), narrow(correction), narrow(epsilon)};
  for (const Tensors *others : {&gradients, &first, &second}) expect_partners(parameters, *others);
  for_each(pieces(parameters), [&](const Piece &piece, int64_t) {
    const size_t t = piece.tensor;
    kernels().adamw(step, numbers(parameters[t], piece), numbers(gradients[t], piece), numbers(first[t], piece),
                    numbers(second[t], piece), piece.count);
  });
}

void scale(const Tensors &tensors, float factor) {
  for_each(pieces(tensors), [&](const Piece &piece, int64_t) {
    kernels().scale(numbers(tensors[piece.tensor], piece), factor, piece.count);
  });
}

void approach(const Tensors &tensors, const Tensors &to, float weight) {
  expect_partners(tensors, to);
  for_each(pieces(tensors), [&](const Piece &piece, int64_t) {
    kernels().approach(numbers(tensors[piece.tensor], piece), numbers(to[piece.tensor], piece), weight, piece.count);
  });
}

}  // namespace bfn
