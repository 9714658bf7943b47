// Makes the kernels of one .cu file callable from Python: run_NAME(grid, block, bytes of shared
// memory, pointers to the arguments).  KERNEL_FILE and KERNELS, such as EXPORT(find), come from the
// command line.
#include KERNEL_FILE

#include <utility>

template <class... A, size_t... I>
void call(void (*kernel)(A...), dim3 grid, dim3 block, unsigned shared, void** arguments, std::index_sequence<I...>) {
  emu::launch(grid, block, shared, [&] { kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...); });
}
template <class... A>
void launch(void (*kernel)(A...), const unsigned* grid, unsigned block, unsigned shared, void** arguments) {
  call(kernel, dim3(grid[0], grid[1], grid[2]), dim3(block), shared, arguments, std::index_sequence_for<A...>{});
}
#define EXPORT(name)                                                                                   \
  extern "C" void run_##name(const unsigned* grid, unsigned block, unsigned shared, void** arguments) { \
    launch(name, grid, block, shared, arguments);                                                       \
  }
KERNELS
