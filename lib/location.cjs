// Where this file is. CommonJS because only `__dirname` works in both copies of the package.
exports.directory = __dirname
