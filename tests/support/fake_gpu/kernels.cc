// Kernels of the fake GPU: for each one that TensorFlow has registered for GPUs, that of
// the CPU, with the types and the memory (a device's or the host's) of the GPU's. So
// operations are placed, refused and fed as on a GPU, and the numbers are right.

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "tensorflow/core/common_runtime/function.h"
#include "tensorflow/core/framework/kernel_def.pb.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tensorflow {
namespace {

// Operations that only pass on tensors, call functions or hold resources: their kernels
// for GPUs touch no memory of a device.
const std::set<std::string> kSameOnAllDevices = {
    "Assert", "Case", "ControlTrigger", "Enter", "Exit", "FakeParam", "Identity",
    "IdentityN", "If", "LoopCond", "Merge", "NextIteration", "NoOp", "PartitionedCall",
    "Placeholder", "RefEnter", "RefExit", "RefMerge", "RefSwitch", "RemoteCall",
    "StatefulPartitionedCall", "StatelessCase", "StatelessIf", "StatelessWhile",
    "Switch", "SymbolicGradient", "VarHandleOp", "While", "_Arg", "_DeviceArg",
    "_DeviceRetval", "_HostRecv", "_HostSend", "_ParallelConcatStart", "_Recv",
    "_Retval", "_Send", "_SwitchN", "_VarHandlesOp"};

bool IsSameOnAllDevices(const std::string& op) {
  if (kSameOnAllDevices.count(op)) return true;
  for (const char* part : {"Dataset", "Iterator", "Optional", "Xla"}) {
    if (op.find(part) != std::string::npos) return true;
  }
  return false;
}

class CpuKernel : public OpKernel {
 public:
  CpuKernel(OpKernelConstruction* construction, std::unique_ptr<OpKernel> kernel)
      : OpKernel(construction), kernel_(std::move(kernel)) {}
  void Compute(OpKernelContext* context) override { kernel_->Compute(context); }

 private:
  std::unique_ptr<OpKernel> kernel_;
};

class AsyncCpuKernel : public AsyncOpKernel {
 public:
  AsyncCpuKernel(OpKernelConstruction* construction, std::unique_ptr<OpKernel> kernel)
      : AsyncOpKernel(construction), kernel_(std::move(kernel)) {}
  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    kernel_->AsAsync()->ComputeAsync(context, std::move(done));
  }

 private:
  std::unique_ptr<OpKernel> kernel_;
};

class CpuKernelFactory : public kernel_factory::OpKernelFactory {
  OpKernel* Create(OpKernelConstruction* construction) override {
    std::shared_ptr<const NodeProperties> properties;
    absl::Status status = NodeProperties::CreateFromNodeDef(
        construction->def(), OpRegistry::Global(), &properties);
    AllocatorAttributes on_host;
    on_host.set_on_host(true);
    OpKernel* kernel = nullptr;
    if (status.ok()) {
      DeviceBase* device = construction->device();
      status = CreateOpKernel(DeviceType("CPU"), device, device->GetAllocator(on_host),
                              construction->function_library(),
                              construction->resource_manager(), properties,
                              construction->graph_def_version(), &kernel);
    }
    if (!status.ok()) {
      construction->CtxFailure(status);
      return nullptr;
    }
    std::unique_ptr<OpKernel> owned(kernel);
    if (kernel->AsAsync()) return new AsyncCpuKernel(construction, std::move(owned));
    return new CpuKernel(construction, std::move(owned));
  }
};

// There is no XLA for the device: what it should compile is run as it is.
class NoCompiler : public CustomKernelCreator {
 public:
  bool CanCreateKernel(const FunctionLibraryRuntime&,
                       const std::shared_ptr<const NodeProperties>&) const override {
    return false;
  }
  absl::Status CreateKernel(FunctionLibraryRuntime*,
                            const std::shared_ptr<const NodeProperties>&,
                            std::unique_ptr<OpKernel>*) const override {
    return absl::UnimplementedError("a fake GPU compiles nothing");
  }
};

bool IsForGpus(const KernelDef& kernel) {
  if (!kernel.label().empty() || IsSameOnAllDevices(kernel.op())) return false;
  // Between GPUs the kernels of any device use NCCL, between CPUs nothing but memory.
  const bool is_collective = kernel.op().rfind("Collective", 0) == 0;
  return kernel.device_type() == "GPU" ||
         (is_collective && kernel.device_type() == "DEFAULT");
}

void RegisterCpuKernels() {
  const KernelList registered = GetAllRegisteredKernels();
  std::set<std::string> on_cpu;
  for (const KernelDef& kernel : registered.kernel()) {
    if (kernel.device_type() == "CPU" && kernel.label().empty()) {
      on_cpu.insert(kernel.op());
    }
  }
  for (const KernelDef& kernel : registered.kernel()) {
    if (!IsForGpus(kernel) || !on_cpu.count(kernel.op())) continue;
    auto* preferred = new KernelDef(kernel);  // which the registry keeps
    preferred->set_device_type("GPU");
    preferred->set_priority(kernel.priority() + 100);
    kernel_factory::OpKernelRegistrar(preferred, "CpuKernel",
                                      std::make_unique<CpuKernelFactory>());
  }
}

}  // namespace
}  // namespace tensorflow

extern "C" void TF_InitKernel() {
  tensorflow::RegisterDefaultCustomKernelCreator(new tensorflow::NoCompiler);
  tensorflow::RegisterCpuKernels();
}
