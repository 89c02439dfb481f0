/** Absolute path of the directory that holds this file, in whichever copy of the package it is. */
export declare const directory: string
