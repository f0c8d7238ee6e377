package matrix

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/integration/interop/scenario"
)

// smoke are the scenarios of the short form.
var smoke = []string{"kpl-short", "kcl2-polling-short", "kcl3-fanout-short", "inside-kcl2"}

// long are the scenarios that only the long form has: what they show beyond
// others takes minutes, and all others together are to take no more than a quarter of
// an hour on two cores.
var long = []string{
	"kcl3-worker-row", "sdk2-json", "fleet-kcl2", "inside-kcl2", "kcl2-fanout", "kcl3-polling", "kcl3-fanout-plain", "pair-kcl2", "pair-kcl3", "pair-kcl3-live",
	"fleet-kcl1", "fleet-kcl3-back", "fleet-kcl34", "fleet-kcl30", "inside-kcl3", "producer-kcl3",
	"upgrade-kcl2-kcl3", "upgrade-kcl2-kcl3-led", "upgrade-one-table", "tables-local", "fleet-kcl2-local", "fleet-kcl3-local",
}

// more are the scenarios that need what else Maven brings: older versions, and
// DynamoDB Local.
var more = []string{"fleet-kcl34", "fleet-kcl30", "upgrade-one-table", "tables-local", "fleet-kcl2-local", "fleet-kcl3-local"}

// javaRows are the scenarios of the clients in Java, which start servers of their
// own and change streams by themselves.
func javaRows() []Row {
	var out []Row
	for _, s := range scenario.All() {
		short := strings.HasSuffix(s.Name, "-short")
		inSmoke := slices.Contains(smoke, s.Name)
		limit := 10 * time.Minute
		inLong := slices.Contains(long, s.Name)
		if inLong {
			limit = 15 * time.Minute
		}
		if short {
			limit = 3 * time.Minute
		}
		fetch := []string{"java"}
		if slices.Contains(more, s.Name) {
			fetch = []string{"java-more"}
		}
		out = append(out, Row{
			Name: s.Name, Needs: []string{"java"}, Fetch: fetch, Alone: true, Smoke: inSmoke, Short: short, Long: inLong,
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
