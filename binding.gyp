{
  "targets": [
    {
      "target_name": "codecs",
      "type": "static_library",
      "sources": ["<!@(node native/codecs/fetch.mjs --list)"],
      "defines": [
        "LZ4LIB_VISIBILITY=",
        "ZSTDLIB_VISIBLE=",
        "ZSTDERRORLIB_VISIBLE=",
        "ZSTD_DISABLE_ASM=1",
        "ZSTD_LEGACY_SUPPORT=0",
        "XXH_NAMESPACE=ZSTD_"
      ],
      "cflags": ["-w", "-O3", "-ffunction-sections", "-fdata-sections", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong"],
      "xcode_settings": { "GCC_SYMBOLS_PRIVATE_EXTERN": "YES", "GCC_OPTIMIZATION_LEVEL": "3" }
    },
    {
      "target_name": "shale",
      "dependencies": ["codecs"],
      "sources": [
        "<!@(node -p \"const s = require('./native/sources.json'); [...s.core, ...s.binding].map((name) => 'native/' + name).join(' ')\")"
      ],
      "include_dirs": [
        "native",
        "<!@(node -p \"require('node-addon-api').include_dir\")"
      ],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "LZ4LIB_VISIBILITY=",
        "ZSTDLIB_VISIBLE=",
        "ZSTDERRORLIB_VISIBLE="
      ],
      "cflags": [
        "-Wall",
        "-Wextra",
        "-O3",
        "-ffunction-sections",
        "-fdata-sections",
        "-fvisibility=hidden",
        "-fstack-protector-strong",
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2",
        "-isystem<(module_root_dir)/native/codecs/vendor/lz4",
        "-isystem<(module_root_dir)/native/codecs/vendor/zstd"
      ],
      "cflags_cc": ["-std=c++20", "-fexceptions", "-fvisibility-inlines-hidden"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-exceptions", "-fno-rtti"],
      "conditions": [
        [
          "OS=='linux'",
          {
            "cflags": ["-flto=auto"],
            "ldflags": [
              "-flto=auto",
              "-O3",
              "-static-libstdc++",
              "-static-libgcc",
              "-Wl,--version-script=<(module_root_dir)/native/binding/exports.map",
              "-Wl,--gc-sections",
              "-Wl,--exclude-libs,ALL",
              "-Wl,-z,relro",
              "-Wl,-z,now",
              "-Wl,-z,nodelete",
              "-Wl,-z,noexecstack"
            ]
          }
        ],
        [
          "OS=='mac'",
          {
            "include_dirs": ["native/codecs/vendor/lz4", "native/codecs/vendor/zstd"],
            "xcode_settings": {
              "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
              "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
              "GCC_ENABLE_CPP_RTTI": "YES",
              "GCC_OPTIMIZATION_LEVEL": "3",
              "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
              "LLVM_LTO": "YES",
              "MACOSX_DEPLOYMENT_TARGET": "11.0"
            }
          }
        ]
      ]
    }
  ]
}
