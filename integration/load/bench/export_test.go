package bench

var (
	ParseUsage = parseUsage
	FileSystem = fileSystem
)
