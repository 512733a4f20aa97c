// TensorFlow 2.17 lets a device of another vendor copy to a second one in the stream of
// its kernels, which then is to wait for itself, and refuses that. Copies of the fake GPU
// are done when they return: nothing needs to wait. Loaded before TensorFlow's own.

#include "absl/status/status.h"

namespace stream_executor {

class Stream;

class StreamCommon {
 public:
  absl::Status WaitFor(Stream*);
};

absl::Status StreamCommon::WaitFor(Stream*) { return absl::OkStatus(); }

}  // namespace stream_executor
