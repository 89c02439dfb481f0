// Where this file is. CommonJS because only `__dirname` works both in the sources, which are ES
// modules, and in what is made of them, which is not.
exports.directory = __dirname
