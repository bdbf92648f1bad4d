# wg_node_proto: the messages and the gRPC service of proto/node.proto, generated at build time by Debian's protoc and
# grpc_cpp_plugin. Generated code is not ours: it compiles without our warnings, and its headers count as system headers.
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(gRPC CONFIG REQUIRED)

function(waggle_proto target file)
  get_filename_component(name ${file} NAME_WE)
  get_filename_component(folder ${CMAKE_SOURCE_DIR}/${file} DIRECTORY)
  set(out ${CMAKE_BINARY_DIR}/${target})
  file(MAKE_DIRECTORY ${out})
  set(generated ${out}/${name}.pb.cc ${out}/${name}.pb.h ${out}/${name}.grpc.pb.cc ${out}/${name}.grpc.pb.h)
  add_custom_command(OUTPUT ${generated}
    COMMAND protobuf::protoc --proto_path=${folder} --cpp_out=${out} --grpc_out=${out}
            --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${name}.proto
    DEPENDS ${CMAKE_SOURCE_DIR}/${file} protobuf::protoc gRPC::grpc_cpp_plugin VERBATIM)
  add_library(${target} STATIC ${generated})
  target_compile_options(${target} PRIVATE -w)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC gRPC::grpc++ protobuf::libprotobuf absl::synchronization)
endfunction()

waggle_proto(wg_node_proto proto/node.proto)
