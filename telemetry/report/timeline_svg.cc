#include "telemetry/report/timeline_svg.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "telemetry/report/escape_html.h"
#include "telemetry/report/format_number.h"

namespace closeranks::telemetry {
namespace {

// All in the units of the viewBox, which are CSS pixels when the page is wide enough.
constexpr double kWidth = 940;
constexpr double kLeft = 58;    // room for the numbers of the vertical axes
constexpr double kRight = 868;  // room for the last value behind the line
constexpr double kMarkRow = 17;
constexpr double kTitle = 28;  // above each panel
constexpr double kLossHeight = 128;
constexpr double kRateHeight = 92;
constexpr double kWorldHeight = 52;

std::string Coordinate(double value) { return FormatFixed(value, 1); }

std::string Text(double x, double y, std::string_view css_class, std::string_view text) {
  return "<text class=\"" + std::string(css_class) + "\" x=\"" + Coordinate(x) + "\" y=\"" +
         Coordinate(y) + "\">" + EscapeHtml(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  return "<line class=\"" + std::string(css_class) + "\" x1=\"" + Coordinate(x1) + "\" y1=\"" +
         Coordinate(y1) + "\" x2=\"" + Coordinate(x2) + "\" y2=\"" + Coordinate(y2) + "\"/>\n";
}

// 1, 2 or 5 times a power of ten, so that [0, top] has about `wanted` steps.
double NiceStep(double top, int wanted) {
  double rough = top / wanted;
  double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

int Decimals(double step) {
  return step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
}

// "12,000", "0.25"
std::string AxisNumber(double value, double step) {
  return step >= 1 ? FormatCount(std::llround(value)) : FormatFixed(value, Decimals(step));
}

// One chart: a strip of the picture with its own vertical axis from 0 to `max`.
struct Panel {
  double top = 0;  // of the strip for lines, below the title
  double height = 0;
  double max = 1;

  double bottom() const { return top + height; }
  double Y(double value) const { return bottom() - value / max * height; }
};

class Timeline {
 public:
  explicit Timeline(const RunReport& report)
      : report_(report), seconds_(std::max(report.seconds, 1e-9)) {}

  std::string Draw();

 private:
  struct Mark {
    double at_seconds;
    std::string label;
    bool loss;
    double label_x = 0;
    int row = 0;
    bool label_left = false;
  };

  double X(double seconds) const {
    return kLeft + std::clamp(seconds / seconds_, 0.0, 1.0) * (kRight - kLeft);
  }
  void PlaceMarks();
  Panel DrawFrame(double top, double height, double max, const std::string& title, double step);
  void DrawLoss(double top);
  void DrawRate(double top);
  void DrawWorld(double top);
  void DrawEpochs(double top, double bottom);
  void DrawTimeAxis(double top);
  void DrawMarks(double top, double bottom);

  const RunReport& report_;
  const double seconds_;
  std::vector<Mark> marks_;
  int mark_rows_ = 0;
  std::string svg_;
};

// Labels stand at the top, right of their line or left of it near the right edge; one that would
// run into an earlier one goes a row lower.
void Timeline::PlaceMarks() {
  for (const Recovery& recovery : report_.recoveries) {
    std::string label = RankList(recovery.lost_ranks) +
                        (recovery.timed_from == LossTimedFrom::kKill ? " killed" : " lost");
    if (recovery.torn_step > 0)
      label += ", step " + FormatCount(static_cast<int64_t>(recovery.torn_step));
    marks_.push_back({recovery.at_seconds, label, true});
  }
  for (const Join& join : report_.joins) {
    std::string label = join.rank >= 0 ? "Rank " + std::to_string(join.rank) + " joined" : "Join";
    if (join.first_step > 0)
      label += ", step " + FormatCount(static_cast<int64_t>(join.first_step));
    marks_.push_back({join.joined_at_seconds, label, false});
  }
  std::stable_sort(marks_.begin(), marks_.end(),
                   [](const Mark& a, const Mark& b) { return a.at_seconds < b.at_seconds; });
  std::vector<double> row_ends;
  for (Mark& mark : marks_) {
    constexpr double kCharacter = 6.6;  // a guess at the width of 12.5 px sans-serif
    double width = 20 + kCharacter * static_cast<double>(mark.label.size());
    double x = X(mark.at_seconds);
    mark.label_left = x + width > kWidth;
    double begin = mark.label_left ? x - width : x - 6;
    size_t row = 0;
    while (row < row_ends.size() && row_ends[row] > begin) ++row;
    if (row == row_ends.size()) row_ends.push_back(0);
    row_ends[row] = begin + width + 8;
    mark.row = static_cast<int>(row);
    mark.label_x = x;
  }
  mark_rows_ = static_cast<int>(row_ends.size());
}

Panel Timeline::DrawFrame(double top, double height, double max, const std::string& title,
                          double step) {
  Panel panel{top + kTitle, height, max};
  svg_ += Text(0, top + kTitle - 14, "title", title);
  for (double value = 0; value <= max * (1 + 1e-9); value += step) {
    double y = panel.Y(value);
    svg_ += Line(kLeft, y, kRight, y, value == 0 ? "base" : "grid");
    svg_ += Text(kLeft - 7, y + 4, "number end", AxisNumber(value, step));
  }
  return panel;
}

// The steps that fall on one pixel of the axis of time.
struct Column {
  double low = 0;
  double high = 0;
  double sum = 0;
  int count = 0;
};

// Over as many neighbours on both sides as there are, so that the curve lags behind nothing.
double CentredMean(const std::vector<std::pair<double, double>>& points, size_t at) {
  size_t reach = std::min({size_t{8}, at, points.size() - 1 - at});
  double sum = 0;
  for (size_t i = at - reach; i <= at + reach; ++i) sum += points[i].second;
  return sum / static_cast<double>(2 * reach + 1);
}

void Timeline::DrawLoss(double top) {
  double highest = 0;
  for (const LossPoint& point : report_.loss) {
    if (std::isfinite(point.loss)) highest = std::max(highest, point.loss);
  }
  double step = NiceStep(highest > 0 ? highest : 1, 3);
  double max = std::max(step, std::ceil(highest / step - 1e-9) * step);
  Panel panel = DrawFrame(top, kLossHeight, max, "Loss, mean of each step's batch", step);
  // However many steps there are, a column of one pixel draws the range and the mean of its steps.
  std::vector<Column> columns(static_cast<size_t>(kRight - kLeft) + 1);
  for (const LossPoint& point : report_.loss) {
    if (!std::isfinite(point.loss)) continue;
    double value = std::max(point.loss, 0.0);
    Column& column = columns[static_cast<size_t>(X(point.at_seconds) - kLeft)];
    column.low = column.count == 0 ? value : std::min(column.low, value);
    column.high = column.count == 0 ? value : std::max(column.high, value);
    column.sum += value;
    ++column.count;
  }
  std::string raw, smooth;
  std::vector<std::pair<double, double>> means;  // x and mean, of the columns that have steps
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = columns[i];
    if (column.count == 0) continue;
    double x = kLeft + static_cast<double>(i);
    raw += (raw.empty() ? "M" : "L") + Coordinate(x) + " " + Coordinate(panel.Y(column.low));
    if (column.high > column.low) raw += "V" + Coordinate(panel.Y(column.high));
    means.emplace_back(x, column.sum / column.count);
  }
  for (size_t i = 0; i < means.size(); ++i) {
    double y = panel.Y(CentredMean(means, i));
    smooth += (smooth.empty() ? "M" : "L") + Coordinate(means[i].first) + " " + Coordinate(y);
  }
  svg_ += "<path class=\"raw\" d=\"" + raw + "\"/>\n<path class=\"line\" d=\"" + smooth + "\"/>\n";
  if (!means.empty()) {
    svg_ += Text(kRight + 7, panel.Y(CentredMean(means, means.size() - 1)) + 4, "value",
                 FormatFixed(report_.final_loss.value_or(0), 3));
  }
}

void Timeline::DrawRate(double top) {
  double highest = 0;
  for (const ThroughputBin& bin : report_.throughput) {
    highest = std::max(highest, bin.samples_per_second);
  }
  double step = NiceStep(highest > 0 ? highest : 1, 3);
  double max = std::max(step, std::ceil(highest / step - 1e-9) * step);
  std::string title = "Samples per second";
  if (report_.bin_seconds > 0) {
    title += ", in bins of " + FormatMilliseconds(report_.bin_seconds * 1000);
  }
  Panel panel = DrawFrame(top, kRateHeight, max, title, step);
  std::string path;
  for (const ThroughputBin& bin : report_.throughput) {
    std::string y = Coordinate(panel.Y(bin.samples_per_second));
    path += (path.empty() ? "M" : "L") + Coordinate(X(bin.begin_seconds)) + " " + y;
    path += "H" + Coordinate(X(bin.begin_seconds + report_.bin_seconds));
  }
  if (!path.empty()) path += "H" + Coordinate(kRight);
  svg_ += "<path class=\"line\" d=\"" + path + "\"/>\n";
  svg_ += Text(kRight + 7, panel.Y(report_.samples_per_second) - 3, "value",
               FormatCount(std::llround(report_.samples_per_second)));
  svg_ += Text(kRight + 7, panel.Y(report_.samples_per_second) + 10, "number", "on average");
}

void Timeline::DrawWorld(double top) {
  int largest = report_.ranks;
  for (const WorldSizePoint& point : report_.world_sizes) largest = std::max(largest, point.size);
  double step = std::max(1.0, NiceStep(largest, 2));
  double max = std::ceil(largest / step) * step;
  Panel panel = DrawFrame(top, kWorldHeight, max, "World size, workers", step);
  std::string path;
  for (const WorldSizePoint& point : report_.world_sizes) {
    std::string x = Coordinate(X(point.at_seconds));
    if (!path.empty()) path += "H" + x;
    path += (path.empty() ? "M" + x + " " : "V") + Coordinate(panel.Y(point.size));
  }
  path += "H" + Coordinate(kRight);
  // The number stands at the line wherever the axis or the right edge is far from it.
  for (size_t i = 1; i + 1 < report_.world_sizes.size(); ++i) {
    double x = X(report_.world_sizes[i].at_seconds);
    if (X(report_.world_sizes[i + 1].at_seconds) - x < 24) continue;
    int size = report_.world_sizes[i].size;
    svg_ += Text(x + 8, panel.Y(size) + 15, "value", std::to_string(size));
  }
  svg_ += "<path class=\"line\" d=\"" + path + "\"/>\n";
  int last = report_.world_sizes.back().size;
  svg_ += Text(kRight + 7, panel.Y(last) + 4, "value", std::to_string(last));
}

void Timeline::DrawEpochs(double top, double bottom) {
  for (size_t i = 1; i < report_.loss.size(); ++i) {
    const LossPoint& point = report_.loss[i];
    if (point.epoch == report_.loss[i - 1].epoch || report_.epochs > 20) continue;
    double x = X(report_.loss[i - 1].at_seconds);
    svg_ += Line(x, top, x, bottom, "epoch");
    svg_ += Text(x + 5, top + 12, "number", "epoch " + std::to_string(point.epoch));
  }
}

void Timeline::DrawTimeAxis(double top) {
  double step = NiceStep(seconds_, 8);
  for (double value = 0; value <= seconds_ * (1 + 1e-9); value += step) {
    svg_ += Line(X(value), top, X(value), top + 4, "base");
    svg_ += Text(X(value), top + 18, "number middle", AxisNumber(value, step) + " s");
  }
}

void Timeline::DrawMarks(double top, double bottom) {
  for (const Mark& mark : marks_) {
    std::string css(mark.loss ? "loss" : "join");
    double y = top + mark.row * kMarkRow + 11;
    svg_ += Line(mark.label_x, y + 6, mark.label_x, bottom, "mark " + css);
    // A cross for who went, a triangle for who came: not told apart by colour alone.
    std::string x = Coordinate(mark.label_x), symbol_y = Coordinate(y - 1);
    svg_ += "<path class=\"symbol " + css + "\" transform=\"translate(" + x + " " + symbol_y +
            ")\" d=\"" + (mark.loss ? "M-4-4L4 4M-4 4L4-4" : "M-4.5 4L0-4L4.5 4Z") + "\"/>\n";
    svg_ += Text(mark.label_x + (mark.label_left ? -9 : 9), y + 3,
                 "label " + css + (mark.label_left ? " end" : ""), mark.label);
  }
}

std::string Timeline::Draw() {
  PlaceMarks();
  double marks_top = 0;
  double loss_top = marks_top + mark_rows_ * kMarkRow + 4;
  double rate_top = loss_top + kTitle + kLossHeight + 10;
  double world_top = rate_top + kTitle + kRateHeight + 10;
  double bottom = world_top + kTitle + kWorldHeight;
  double height = bottom + 24;
  svg_ = "<svg class=\"timeline\" viewBox=\"0 0 " + Coordinate(kWidth) + " " + Coordinate(height) +
         "\" role=\"img\" aria-labelledby=\"timeline-title\">\n<title id=\"timeline-title\">Loss, "
         "samples "
         "per second and world size over time</title>\n";
  DrawEpochs(loss_top + kTitle, bottom);
  DrawLoss(loss_top);
  DrawRate(rate_top);
  DrawWorld(world_top);
  DrawTimeAxis(bottom);
  DrawMarks(marks_top, bottom);
  return svg_ + "</svg>\n";
}

}  // namespace

std::string TimelineSvg(const RunReport& report) { return Timeline(report).Draw(); }

std::string_view TimelineCss() {
  return R"(
.timeline { display: block; width: 100%; min-width: 700px; height: auto; }
.timeline text { fill: var(--text); font-size: 12.5px; }
.timeline .title { font-weight: 600; }
.timeline .number { fill: var(--muted); font-size: 11.5px; font-variant-numeric: tabular-nums; }
.timeline .value { font-weight: 600; font-variant-numeric: tabular-nums; }
.timeline .end { text-anchor: end; }
.timeline .middle { text-anchor: middle; }
.timeline .grid { stroke: var(--grid); }
.timeline .base { stroke: var(--muted); }
.timeline .epoch { stroke: var(--muted); stroke-dasharray: 1 4; }
.timeline path { fill: none; stroke-linejoin: round; }
.timeline .line { stroke: var(--line); stroke-width: 1.8; }
.timeline .raw { stroke: var(--line); stroke-width: 1; opacity: 0.3; }
.timeline .mark { stroke-width: 1.4; }
.timeline .mark.loss, .timeline .symbol.loss { stroke: var(--loss); }
.timeline .mark.join { stroke: var(--join); stroke-dasharray: 5 3; }
.timeline .symbol { stroke-width: 2; }
.timeline .symbol.join { fill: var(--join); }
.timeline .label { font-weight: 600; }
.timeline .label.loss { fill: var(--loss); }
.timeline .label.join { fill: var(--join); }
)";
}

}  // namespace closeranks::telemetry
