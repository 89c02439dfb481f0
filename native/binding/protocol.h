// What the addon and lib/native agree on: the words of the register file, statuses and flags.
//
// lib/native/protocol.ts has the same names and numbers; test/lifetime/protocol.test.ts compares
// the two.
//
// Arguments and results that are numbers go through the register file, a Uint32Array that
// JavaScript made: one word costs 0.3 ns there, a number as argument or result 4-5 ns. No user code
// runs between the stores before a call and the loads after it.
#pragma once

#include <cstdint>

namespace shale {

// A difference means that the TypeScript and the binary come from two versions of the package.
inline constexpr uint32_t kProtocolVersion = 4;

// --- words of the register file ---
inline constexpr uint32_t kMetaStatus = 0;     // out: 0, a length, or a status
inline constexpr uint32_t kMetaHandle = 1;     // in: the object; out: the object made
inline constexpr uint32_t kMetaOffset = 2;     // in: byte of the slab, or of the target
inline constexpr uint32_t kMetaLength = 3;     // out: bytes of a value, or needed; index of a key
inline constexpr uint32_t kMetaCount = 4;      // in: limit or start; out: how many
inline constexpr uint32_t kMetaFlags = 5;      // in and out: see below
inline constexpr uint32_t kMetaByteLimit = 6;  // in
inline constexpr uint32_t kMetaOperation = 7;  // in: what an asynchronous answer is filed under
inline constexpr uint32_t kMetaSeqno = 8;      // in: a double; negative = newest
inline constexpr uint32_t kMetaNumber = 10;    // in and out: a double
inline constexpr uint32_t kMetaNumber2 = 12;   // out: a double
inline constexpr uint32_t kMetaRecords = 16;   // out: answers, kRecordWords each
inline constexpr uint32_t kMetaKeys = 1040;    // out: getMany, offset and length of each value
inline constexpr uint32_t kMetaWords = 2064;

// --- an answer to an asynchronous call ---
inline constexpr uint32_t kRecordMax = 128;  // at a time
inline constexpr uint32_t kRecordWords = 8;
inline constexpr uint32_t kRecordOperation = 0;
inline constexpr uint32_t kRecordStatus = 1;  // 0 or a status
inline constexpr uint32_t kRecordOffset = 2;  // of the bytes in the slab, or kNotInSlab
inline constexpr uint32_t kRecordLength = 3;  // of the bytes
inline constexpr uint32_t kRecordFlags = 4;
inline constexpr uint32_t kRecordNumber = 6;  // a double
inline constexpr uint32_t kNotInSlab = 0xffffffff;
// Of an answer that is none: a question of a compaction filter waits.
inline constexpr uint32_t kOperationQuestion = 0xffffffff;
inline constexpr uint32_t kNoValue = 0xffffffff;  // length of a value that a question leaves out

inline constexpr uint32_t kManyMax = 512;  // keys that one getMany call answers

// --- statuses: kStatusMin + Code, and some that never leave lib/native ---
inline constexpr uint32_t kStatusMin = 0xffffff00;
inline constexpr uint32_t kStatusNotFound = 0xffffff01;
inline constexpr uint32_t kStatusWouldBlock = 0xffffff02;
inline constexpr uint32_t kStatusBadKey = 0xffffff80;
inline constexpr uint32_t kStatusBadValue = 0xffffff81;
inline constexpr uint32_t kStatusBadArgument = 0xffffff82;
inline constexpr uint32_t kStatusBadHandle = 0xffffff83;
inline constexpr uint32_t kStatusTooBig = 0xffffff84;   // for the slab; kMetaLength = its size
inline constexpr uint32_t kStatusPending = 0xffffff85;  // an answer will come
inline constexpr uint32_t kStatusBusy = 0xffffff86;     // this end is being filled

// --- flags ---
inline constexpr uint32_t kReadMayBlock = 1;       // in: read from disk here and now
inline constexpr uint32_t kReadPinned = 2;         // in: the state that getMany has pinned
inline constexpr uint32_t kReadSize = 4;           // in: only the length is wanted
inline constexpr uint32_t kReadOwn = 8;            // in: a value too large for the slab in a Buffer
inline constexpr uint32_t kWriteKindShift = 2;     // in: durability | kind << 2
inline constexpr uint32_t kSnapshotAbandoned = 1;  // in: nobody closed it
inline constexpr uint32_t kScanOutlivesClose = 1;  // in: closing does not end this scan
inline constexpr uint32_t kFillBack = 1;           // in: from the back end
inline constexpr uint32_t kFillContentShift = 1;   // in: RowContent << 1
inline constexpr uint32_t kFillMayBlock = 8;       // in
inline constexpr uint32_t kFillEnd = 1;            // out: nothing comes after these rows
inline constexpr uint32_t kQuestionLastLevel = 1;  // out
inline constexpr uint32_t kQuestionNow = 2;  // out: an answer that comes later is too late; in

// --- sizes ---
inline constexpr uint32_t kSlabBytes = 65536;
// Values of this size and more get memory of their own, so that keeping one does not keep a slab.
inline constexpr uint32_t kOwnBufferMin = 4096;

}  // namespace shale
