/* A libvulkan.so.1 before the true one (TRUE_VULKAN), of a device that this machine has not:
 *   LOST_AFTER=N  it is lost after N submissions
 *   PLAIN=1       it has nothing that is optional
 *   NO_PRODUCTS=1 it has no products of matrices
 *   SAY=1         "a product of matrices" on stderr for each module that has one
 *   DISCRETE=N    the processor does not see its memory, of which there are N MiB
 *   NONE=1        there is no device
 *   RANGE=N       kernels read at most N KiB of a buffer, and more is not bound
 *   GIVES=N       it gives at most N KiB at once, and says so
 *   REFUSES=N     it gives no more than N KiB at once, and does not say so
 *   SHARED=N      workgroups share N KiB
 *   BINDINGS=N    kernels read N buffers */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PFN_vkGetInstanceProcAddr of_instance;
static PFN_vkGetDeviceProcAddr of_device;
static PFN_vkQueueSubmit true_submit;
static PFN_vkGetPhysicalDeviceFeatures2 true_features;
static PFN_vkGetPhysicalDeviceMemoryProperties true_memory;
static PFN_vkGetBufferMemoryRequirements true_needs;
static PFN_vkAllocateMemory true_allocate;
static PFN_vkCreateShaderModule true_create_module;
static PFN_vkEnumeratePhysicalDevices true_enumerate;
static PFN_vkGetPhysicalDeviceProperties true_properties;
static PFN_vkGetPhysicalDeviceProperties2 true_properties2;
static PFN_vkUpdateDescriptorSets true_update;

/* VK_KHR_cooperative_matrix, which is younger than some headers */
static const VkStructureType cooperative_matrix_features = (VkStructureType)1000506000;
struct CooperativeMatrixFeatures {
  VkBaseOutStructure base;
  VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
};

static int submissions;

static void set(const char *name, VkDeviceSize unit, VkDeviceSize *value) {
  const char *number = getenv(name);
  if (number)
    *value = (VkDeviceSize)atoi(number) * unit;
}

static VkResult enumerate(VkInstance instance, uint32_t *count, VkPhysicalDevice *devices) {
  if (!getenv("NONE"))
    return true_enumerate(instance, count, devices);
  *count = 0;
  return VK_SUCCESS;
}

static void properties(VkPhysicalDevice device, VkPhysicalDeviceProperties *found) {
  true_properties(device, found);
  VkPhysicalDeviceLimits *limits = &found->limits;
  VkDeviceSize range = limits->maxStorageBufferRange, shared = limits->maxComputeSharedMemorySize,
               bindings = limits->maxPerStageDescriptorStorageBuffers;
  set("RANGE", 1024, &range);
  set("SHARED", 1024, &shared);
  set("BINDINGS", 1, &bindings);
  limits->maxStorageBufferRange = (uint32_t)range;
  limits->maxComputeSharedMemorySize = (uint32_t)shared;
  limits->maxPerStageDescriptorStorageBuffers = (uint32_t)bindings;
}

static void properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *found) {
  true_properties2(device, found);
  for (VkBaseOutStructure *more = found->pNext; more; more = more->pNext)
    if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES)
      set("GIVES", 1024,
          &((VkPhysicalDeviceMaintenance3Properties *)more)->maxMemoryAllocationSize);
}

static void update(VkDevice device, uint32_t count, const VkWriteDescriptorSet *writes,
                   uint32_t copies, const VkCopyDescriptorSet *copied) {
  VkDeviceSize range = ~(VkDeviceSize)0;
  set("RANGE", 1024, &range);
  for (uint32_t i = 0; i < count; ++i)
    if (writes[i].pBufferInfo->range > range)
      abort();
  true_update(device, count, writes, copies, copied);
}

static VkResult submit(VkQueue queue, uint32_t count, const VkSubmitInfo *submits, VkFence fence) {
  const char *most = getenv("LOST_AFTER");
  if (most && submissions++ >= atoi(most))
    return VK_ERROR_DEVICE_LOST;
  return true_submit(queue, count, submits, fence);
}

static void features(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *found) {
  true_features(device, found);
  const char *plain = getenv("PLAIN");
  if (!plain && !getenv("NO_PRODUCTS"))
    return;
  for (VkBaseOutStructure *more = found->pNext; more; more = more->pNext)
    if (more->sType == cooperative_matrix_features)
      ((struct CooperativeMatrixFeatures *)more)->cooperativeMatrix = VK_FALSE;
    else if (!plain)
      continue;
    else if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES)
      ((VkPhysicalDeviceShaderIntegerDotProductFeatures *)more)->shaderIntegerDotProduct = VK_FALSE;
    else if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES)
      ((VkPhysicalDeviceSubgroupSizeControlFeatures *)more)->computeFullSubgroups = VK_FALSE;
    else if (more->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES &&
             more->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES)
      abort(); /* a feature that this does not know */
}

/* Type 0 is the device's, type 1 what both see; in truth both are the only one there is. */
static void memory(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties *properties) {
  true_memory(device, properties);
  const char *most = getenv("DISCRETE");
  if (!most)
    return;
  if (properties->memoryTypeCount != 1)
    abort();
  properties->memoryTypeCount = properties->memoryHeapCount = 2;
  properties->memoryTypes[1] = properties->memoryTypes[0];
  properties->memoryTypes[1].heapIndex = 1;
  properties->memoryTypes[1].propertyFlags &= ~(VkFlags)VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  properties->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  properties->memoryHeaps[1] = properties->memoryHeaps[0];
  properties->memoryHeaps[1].flags = 0;
  properties->memoryHeaps[0].size = (VkDeviceSize)atoi(most) << 20;
}

static void needs(VkDevice device, VkBuffer buffer, VkMemoryRequirements *requirements) {
  true_needs(device, buffer, requirements);
  if (getenv("DISCRETE"))
    requirements->memoryTypeBits = 3;
}

static VkResult allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                         const VkAllocationCallbacks *callbacks, VkDeviceMemory *result) {
  VkMemoryAllocateInfo changed = *info;
  VkDeviceSize most = ~(VkDeviceSize)0;
  set("GIVES", 1024, &most);
  set("REFUSES", 1024, &most);
  if (info->allocationSize > most)
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  if (getenv("DISCRETE"))
    changed.memoryTypeIndex = 0;
  return true_allocate(device, &changed, callbacks, result);
}

static VkResult create_module(VkDevice device, const VkShaderModuleCreateInfo *info,
                              const VkAllocationCallbacks *callbacks, VkShaderModule *result) {
  enum { header = 5, OpCooperativeMatrixMulAddKHR = 4459 };
  const size_t words = info->codeSize / 4;
  size_t at = header;
  while (at < words && (info->pCode[at] & 0xffff) != OpCooperativeMatrixMulAddKHR)
    at += info->pCode[at] >> 16;
  if (getenv("SAY") && at < words)
    fprintf(stderr, "a product of matrices\n");
  return true_create_module(device, info, callbacks, result);
}

static PFN_vkVoidFunction device_function(VkDevice device, const char *name) {
  PFN_vkVoidFunction found = of_device(device, name);
#define INSTEAD(of, variable, function)                                                            \
  if (!strcmp(name, of))                                                                           \
  return (variable) = (void *)found, (PFN_vkVoidFunction)(function)
  INSTEAD("vkQueueSubmit", true_submit, submit);
  INSTEAD("vkGetBufferMemoryRequirements", true_needs, needs);
  INSTEAD("vkAllocateMemory", true_allocate, allocate);
  INSTEAD("vkCreateShaderModule", true_create_module, create_module);
  INSTEAD("vkUpdateDescriptorSets", true_update, update);
  return found;
}

PFN_vkVoidFunction vkGetInstanceProcAddr(VkInstance instance, const char *name) {
  if (!of_instance) {
    void *library = dlopen(getenv("TRUE_VULKAN"), RTLD_NOW | RTLD_LOCAL);
    of_instance = library ? (void *)dlsym(library, "vkGetInstanceProcAddr") : NULL;
  }
  PFN_vkVoidFunction found = of_instance ? of_instance(instance, name) : NULL;
  INSTEAD("vkGetDeviceProcAddr", of_device, device_function);
  INSTEAD("vkEnumeratePhysicalDevices", true_enumerate, enumerate);
  INSTEAD("vkGetPhysicalDeviceProperties", true_properties, properties);
  INSTEAD("vkGetPhysicalDeviceProperties2", true_properties2, properties2);
  INSTEAD("vkGetPhysicalDeviceFeatures2", true_features, features);
  INSTEAD("vkGetPhysicalDeviceMemoryProperties", true_memory, memory);
  return found;
}
