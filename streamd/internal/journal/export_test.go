package journal

// Scan is recovery's look at the last segment.
var Scan = scan
