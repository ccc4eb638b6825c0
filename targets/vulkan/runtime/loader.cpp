#include "targets/vulkan/runtime/loader.h"

#include "runtime/core/device.h"

#include <dlfcn.h>
#include <string.h>

namespace ingot::platform::vulkan {
namespace {

constexpr uint32_t most_devices = 16, most_families = 16, most_extensions = 512,
                   most_products = 256;
constexpr const char *dot_extension = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME,
                     *size_extension = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME,
                     *matrix_extension = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
constexpr uint32_t least_subgroup = 8, invocations = 64; // of a workgroup (codegen/spirv)
/// Of product_shapes; the rest are of bytes.
constexpr uint32_t halves_of(uint32_t features) {
  uint32_t found = 0, index = 0;
  for (const ProductShape &shape : product_shapes) {
    if (shape.halves())
      found |= features & INGOT_DEVICE_PRODUCT(index);
    ++index;
  }
  return found;
}

/// The larger the better.
int32_t rank(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 4;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return 3;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return 2;
  default:
    return 1;
  }
}

bool has_extension(const Machine &machine, const char *name) {
  VkExtensionProperties properties[most_extensions];
  uint32_t count = most_extensions;
  if (machine.vk.EnumerateDeviceExtensionProperties(machine.physical, nullptr, &count, properties) <
      0)
    return false;
  for (uint32_t i = 0; i < count; ++i)
    if (!strcmp(properties[i].extensionName, name))
      return true;
  return false;
}

bool is_core(const Machine &machine) { return machine.properties.apiVersion >= VK_API_VERSION_1_3; }

/// The first family that computes.
bool find_queue(Machine *machine) {
  VkQueueFamilyProperties families[most_families];
  uint32_t count = most_families;
  machine->vk.GetPhysicalDeviceQueueFamilyProperties(machine->physical, &count, families);
  for (uint32_t i = 0; i < count; ++i)
    if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
      machine->queue_family = i;
      machine->timestamps = families[i].timestampValidBits != 0;
      return true;
    }
  return false;
}

/// Those of a version or of an extension; what is neither is not asked for.
struct MoreFeatures {
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot{};
  VkPhysicalDeviceSubgroupSizeControlFeatures size{};
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix{};
  VkPhysicalDeviceShaderFloat16Int8Features elements{};
  VkPhysicalDeviceVulkanMemoryModelFeatures model{};
  void *chain = nullptr;

  MoreFeatures(bool dots, bool sizes, bool products) {
    dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
    size.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
    matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    elements.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    const auto ask = [&](auto &features) { // of what the device knows
      features.pNext = chain;
      chain = &features;
    };
    if (dots)
      ask(dot);
    if (sizes)
      ask(size);
    if (products) {
      ask(matrix);
      ask(elements);
      ask(model);
    }
  }
};

/// INGOT_DEVICE_PRODUCT bits: which products of matrices the device lists.
uint32_t find_products(const Machine &machine) {
  const auto list = machine.vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR;
  if (!list)
    return 0;
  VkCooperativeMatrixPropertiesKHR products[most_products] = {};
  for (VkCooperativeMatrixPropertiesKHR &product : products)
    product.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
  uint32_t count = most_products, found = 0, index = 0;
  if (list(machine.physical, &count, products) < 0)
    return 0;
  for (const auto &shape : product_shapes) {
    for (uint32_t i = 0; i < count; ++i) {
      const VkCooperativeMatrixPropertiesKHR &product = products[i];
      const bool halves = shape.halves();
      const auto size = [](int32_t extent) { return static_cast<uint32_t>(extent); };
      const VkComponentTypeKHR element = halves ? VK_COMPONENT_TYPE_FLOAT16_KHR
                                                : VK_COMPONENT_TYPE_SINT8_KHR,
                               sum = halves ? VK_COMPONENT_TYPE_FLOAT32_KHR
                                            : VK_COMPONENT_TYPE_SINT32_KHR;
      if (product.MSize == size(shape.rows) && product.NSize == size(shape.columns) &&
          product.KSize == size(shape.depth) && product.AType == element &&
          product.BType == element && product.CType == sum && product.ResultType == sum &&
          !product.saturatingAccumulation && product.scope == VK_SCOPE_SUBGROUP_KHR)
        found |= INGOT_DEVICE_PRODUCT(index);
    }
    ++index;
  }
  return found;
}

void find_features(Machine *machine) {
  machine->features = 0;
  const bool core = is_core(*machine);
  const bool products = core && has_extension(*machine, matrix_extension);
  MoreFeatures more(core || has_extension(*machine, dot_extension),
                    core || has_extension(*machine, size_extension), products);
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = more.chain;
  machine->vk.GetPhysicalDeviceFeatures2(machine->physical, &features);
  if (more.dot.shaderIntegerDotProduct)
    machine->features |= INGOT_DEVICE_BYTE_DOT;
  VkPhysicalDeviceCooperativeMatrixPropertiesKHR matrices{};
  matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
  VkPhysicalDeviceSubgroupProperties subgroups{};
  subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  subgroups.pNext = products ? &matrices : nullptr;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &subgroups;
  machine->vk.GetPhysicalDeviceProperties2(machine->physical, &properties);
  if (!more.size.computeFullSubgroups || subgroups.subgroupSize < least_subgroup ||
      invocations % subgroups.subgroupSize ||
      !(subgroups.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
    return;
  if (subgroups.supportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT)
    machine->features |= INGOT_DEVICE_SHUFFLE;
  if (more.matrix.cooperativeMatrix && more.model.vulkanMemoryModel &&
      matrices.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) {
    const uint32_t listed = find_products(*machine), halves = halves_of(listed);
    if (more.elements.shaderInt8)
      machine->features |= listed & ~halves;
    if (more.elements.shaderFloat16)
      machine->features |= halves;
  }
}

/// 0: nothing is known.
void find_most_bytes(Machine *machine) {
  VkPhysicalDeviceMaintenance4Properties buffers{};
  buffers.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES;
  VkPhysicalDeviceMaintenance3Properties memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  memory.pNext = is_core(*machine) ? &buffers : nullptr;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &memory;
  machine->vk.GetPhysicalDeviceProperties2(machine->physical, &properties);
  machine->most_bytes = memory.maxMemoryAllocationSize;
  if (buffers.maxBufferSize && buffers.maxBufferSize < machine->most_bytes)
    machine->most_bytes = buffers.maxBufferSize;
}

} // namespace

const char *find_machine(Machine *machine) {
  *machine = Machine{};
  void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return "there is no Vulkan loader (libvulkan.so.1)";
  Functions &vk = machine->vk;
  vk.GetInstanceProcAddr =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  const auto create = vk.GetInstanceProcAddr
                          ? reinterpret_cast<PFN_vkCreateInstance>(
                                vk.GetInstanceProcAddr(nullptr, "vkCreateInstance"))
                          : nullptr;
  if (!create)
    return "the Vulkan loader (libvulkan.so.1) has no vkCreateInstance";
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "ingot";
  application.apiVersion = VK_API_VERSION_1_3;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  if (create(&info, nullptr, &machine->instance) != VK_SUCCESS) {
    machine->instance = nullptr;
    return "there is no Vulkan driver";
  }
#define X(name)                                                                                    \
  vk.name = reinterpret_cast<PFN_vk##name>(vk.GetInstanceProcAddr(machine->instance, "vk" #name));
  INGOT_VULKAN_INSTANCE_FUNCTIONS(X)
#undef X

  VkPhysicalDevice devices[most_devices];
  uint32_t count = most_devices;
  if (vk.EnumeratePhysicalDevices(machine->instance, &count, devices) < 0)
    count = 0;
  Machine best = *machine;
  for (uint32_t i = 0; i < count; ++i) {
    Machine one = *machine;
    one.physical = devices[i];
    vk.GetPhysicalDeviceProperties(one.physical, &one.properties);
    if (one.properties.apiVersion >= VK_API_VERSION_1_1 && find_queue(&one) &&
        (!best.physical || rank(one.properties.deviceType) > rank(best.properties.deviceType)))
      best = one;
  }
  *machine = best;
  if (!machine->physical) {
    close_machine(machine);
    return "there is no Vulkan device that computes (version 1.1 or later)";
  }
  vk.GetPhysicalDeviceMemoryProperties(machine->physical, &machine->memory);
  find_features(machine);
  find_most_bytes(machine);
  return nullptr;
}

bool open_machine(Machine *machine) {
  const float priority = 1;
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = machine->queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  const bool dots = machine->features & INGOT_DEVICE_BYTE_DOT,
             products = machine->features & INGOT_DEVICE_ANY_PRODUCT,
             subgroups = products || machine->features & INGOT_DEVICE_SHUFFLE;
  MoreFeatures more(dots, subgroups, products);
  more.dot.shaderIntegerDotProduct = dots;
  more.size.computeFullSubgroups = subgroups;
  more.matrix.cooperativeMatrix = more.model.vulkanMemoryModel = products;
  const uint32_t halves = halves_of(machine->features);
  more.elements.shaderFloat16 = halves != 0;
  more.elements.shaderInt8 = (machine->features & INGOT_DEVICE_ANY_PRODUCT & ~halves) != 0;
  const char *extensions[2];
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.pNext = more.chain;
  info.ppEnabledExtensionNames = extensions;
  if (dots && !is_core(*machine))
    extensions[info.enabledExtensionCount++] = dot_extension;
  if (subgroups && !is_core(*machine))
    extensions[info.enabledExtensionCount++] = size_extension;
  if (products) // of core devices only
    extensions[info.enabledExtensionCount++] = matrix_extension;
  Functions &vk = machine->vk;
  if (vk.CreateDevice(machine->physical, &info, nullptr, &machine->device) != VK_SUCCESS) {
    machine->device = nullptr;
    return false;
  }
  bool complete = true;
#define X(name)                                                                                    \
  vk.name = reinterpret_cast<PFN_vk##name>(vk.GetDeviceProcAddr(machine->device, "vk" #name));     \
  complete &= vk.name != nullptr;
  INGOT_VULKAN_DEVICE_FUNCTIONS(X)
#undef X
  if (!complete)
    return false;
  vk.GetDeviceQueue(machine->device, machine->queue_family, 0, &machine->queue);
  return true;
}

void close_machine(Machine *machine) {
  if (machine->device && machine->vk.DestroyDevice)
    machine->vk.DestroyDevice(machine->device, nullptr);
  if (machine->instance)
    machine->vk.DestroyInstance(machine->instance, nullptr);
  machine->device = nullptr;
  machine->instance = nullptr;
}

} // namespace ingot::platform::vulkan
