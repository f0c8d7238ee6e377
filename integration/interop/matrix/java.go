package matrix

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/integration/interop/scenario"
)

// smoke are the scenarios of the short form.
var smoke = []string{"kpl-short", "kcl2-polling-short", "kcl3-fanout-short"}

// javaRows are the scenarios of the clients in Java, which start servers of their
// own and change streams by themselves.
func javaRows() []Row {
	var out []Row
	for _, s := range scenario.All() {
		short := strings.HasSuffix(s.Name, "-short")
		inSmoke := slices.Contains(smoke, s.Name)
		limit := 10 * time.Minute
		if short {
			limit = 3 * time.Minute
		}
		out = append(out, Row{
			Name: s.Name, Needs: []string{"java"}, Fetch: []string{"java"}, Alone: true, Smoke: inSmoke, Short: short,
			Command: []string{"sh", "-c", playScenario, s.Name},
			Env: []string{
				"WORK={work}",
				fmt.Sprintf("TIMEOUT=%v", limit-20*time.Second), // so that it ends in order
			},
			Limit: limit,
		})
	}
	return out
}

// playScenario is for a shell. What the server was asked is kept with the captures
// of other rows.
const playScenario = `
go build -o "$WORK/scenario" ./integration/interop/cmd/scenario || exit
"$WORK/scenario" ${CAPTURE:+-capture} -streamd "$WORK/streamd" -timeout "$TIMEOUT" -work "$WORK/rows/$0" "$0"
code=$?
if [ -n "$CAPTURE" ]; then cp "$WORK/rows/$0/$0/requests.ndjson" "$WORK/captures/$0.ndjson"; fi
if [ $code = 0 ]; then rm -rf "$WORK/rows/$0/$0/data"; fi
exit $code
`
