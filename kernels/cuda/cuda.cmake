# The CUDA back end. Its C side needs no CUDA to build or to start (driver.h); its kernels need nvcc,
# which is on the PATH or in CUDACXX, as deploy/install-cuda-compiler prints it.
target_sources(kernels PRIVATE cuda/cublas.c cuda/cuda_attention.c cuda/cuda_backend.c
    cuda/cuda_device.c cuda/cuda_experts.c cuda/cuda_latent.c cuda/cuda_linear.c
    cuda/cuda_memory.c cuda/cuda_rows.c cuda/cuda_sample.c cuda/cuda_upload.c cuda/cuda_weight.c
    cuda/driver.c cuda/library.c cuda/product.c)
target_link_libraries(kernels PRIVATE ${CMAKE_DL_LIBS})

if(DEFINED ENV{CUDACXX})
    set(MILLRACE_NVCC $ENV{CUDACXX} CACHE FILEPATH "CUDA compiler, for the kernels")
endif()
find_program(MILLRACE_NVCC nvcc DOC "CUDA compiler, for the kernels")
if(NOT MILLRACE_CUDA OR NOT MILLRACE_NVCC)
    target_sources(kernels PRIVATE cuda/fatbin_absent.c)
    message(STATUS "Without CUDA kernels: MILLRACE_CUDA is off or there is no nvcc")
    return()
endif()
message(STATUS "CUDA kernels by ${MILLRACE_NVCC}")

# Machine code for Ampere and Hopper, and PTX, which the driver compiles for what else there is.
set(architectures
    -gencode arch=compute_80,code=sm_80
    -gencode arch=compute_90a,code=sm_90a
    -gencode arch=compute_80,code=compute_80)
set(topics_list "")
include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake)
foreach(source ${CUDA_KERNEL_SOURCES})
    get_filename_component(topic ${source} NAME_WE)
    set(fatbin ${CMAKE_CURRENT_BINARY_DIR}/cuda/${topic}.fatbin)
    add_custom_command(OUTPUT ${fatbin}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/cuda
        COMMAND ${MILLRACE_NVCC} -fatbin -std=c++17 -O3 ${architectures} -I ${CMAKE_SOURCE_DIR}
            -Xptxas=-warn-spills,-warn-lmem-usage -MD -MF ${fatbin}.d -o ${fatbin}
            ${source}
        DEPENDS ${source}
        DEPFILE ${fatbin}.d
        COMMENT "Compiling CUDA kernels of ${topic}.cu" VERBATIM)
    list(APPEND fatbins ${fatbin})
    string(APPEND topics_list " X(${topic})")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/cuda/topics.h @ONLY CONTENT
"#define CUDA_TOPICS(X)@topics_list@
#define CUDA_FATBINS \"@CMAKE_CURRENT_BINARY_DIR@/cuda\"
")
target_sources(kernels PRIVATE cuda/fatbin.c)
set_source_files_properties(cuda/fatbin.c PROPERTIES OBJECT_DEPENDS "${fatbins}"
    COMPILE_OPTIONS "-include;${CMAKE_CURRENT_BINARY_DIR}/cuda/topics.h")
