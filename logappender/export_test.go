package logappender

// NewOn is New on a file system.
var NewOn = newOn
