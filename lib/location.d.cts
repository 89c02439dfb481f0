/** Absolute path of the directory that holds this file: `lib`, or `dist/cjs` of the package. */
export declare const directory: string
