package matrix

// All is the matrix of this project.
func All() Matrix {
	return Matrix{Runtimes: runtimes, Fetches: fetches, Rows: rows, Absent: absent}
}

var runtimes = []Runtime{
	{Name: "python", Probe: []string{"python3", "-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"}, How: "install Python 3.10 or newer with venv"},
	{Name: "node", Probe: []string{"node", "-e", "if (+process.versions.node.split('.')[0] < 20) throw 'older than 20'"}, How: "install Node.js 20 or newer, with npm"},
	{Name: "java", Probe: []string{"mvn", "--batch-mode", "--version"}, How: "install a JDK of 17 or newer, and Maven"},
}

var fetches = []Fetch{
	{
		Name:   "boto3",
		Inputs: []string{"integration/interop/python/boto3.txt"},
		Steps: [][]string{
			{"python3", "-m", "venv", "{work}/boto3"},
			{"{work}/boto3/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "integration/interop/python/boto3.txt"},
		},
	},
}

var rows = []Row{
	{
		Name: "boto3", Needs: []string{"python"}, Fetch: []string{"boto3"}, Smoke: true,
		Command: []string{"{work}/boto3/bin/python", "integration/interop/python/boto3_all.py"},
		Shards:  2, Limit: 2 * minute,
		After: []Step{readBack},
	},
}

var absent []Absent
