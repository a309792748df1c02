# The CUDA kernels: compiled by nvcc for devices, and as C++ for the emulation of the tests.
set(CUDA_KERNEL_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/decode_attention.cu
    ${CMAKE_CURRENT_LIST_DIR}/expert_linear.cu
    ${CMAKE_CURRENT_LIST_DIR}/experts.cu
    ${CMAKE_CURRENT_LIST_DIR}/kv_write.cu
    ${CMAKE_CURRENT_LIST_DIR}/latent_attention.cu
    ${CMAKE_CURRENT_LIST_DIR}/latent_write.cu
    ${CMAKE_CURRENT_LIST_DIR}/prefill_attention.cu
    ${CMAKE_CURRENT_LIST_DIR}/rows.cu
    ${CMAKE_CURRENT_LIST_DIR}/sample.cu)
