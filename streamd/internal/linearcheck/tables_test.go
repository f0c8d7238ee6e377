package linearcheck_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of the only history; 0 means the usual ones")
	histFlag = flag.Int("histories", 20, "how many histories to check")
)

const (
	clients   = 8
	perClient = 40
	restarts  = 4
)

const createTable = `{"TableName":"tab","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`

// request returns the operation and the body of a request.
func (in input) request(token string) (op, body string) {
	key := func(k int) string { return fmt.Sprintf(`"TableName":"tab","Key":{"k":{"S":"k%d"}}`, k) }
	item := func(k int) string {
		return fmt.Sprintf(`"TableName":"tab","Item":{"k":{"S":"k%d"},"n":{"N":"0"}},"ConditionExpression":"attribute_not_exists(k)"`, k)
	}
	values := func(one string) string {
		return fmt.Sprintf(`,"ExpressionAttributeValues":{":want":{"N":"%d"}%s}`, in.want, one)
	}
	up := `,"UpdateExpression":"SET n = n + :one","ConditionExpression":"n = :want"` + values(`,":one":{"N":"1"}`)
	switch in.kind {
	case create:
		return "PutItem", "{" + item(in.key) + "}"
	case count:
		return "UpdateItem", "{" + key(in.key) + up + "}"
	case remove:
		return "DeleteItem", "{" + key(in.key) + `,"ConditionExpression":"n = :want"` + values("") + "}"
	case move:
		return "TransactWriteItems", `{"TransactItems":[{"Update":{` + key(in.key) + up + `}},{"Put":{` + item(in.other) + `}}],"ClientRequestToken":"` + token + `"}`
	case look:
		return "TransactGetItems", `{"TransactItems":[{"Get":{` + key(in.key) + `}},{"Get":{` + key(in.other) + `}}]}`
	default:
		return "GetItem", "{" + key(in.key) + "}"
	}
}

// counter returns the counter of an item.
func counter(item map[string]map[string]string) (int, error) {
	if item == nil {
		return absent, nil
	}
	return strconv.Atoi(item["n"]["N"])
}

// do sends a request and reads its answer.
func (in input) do(s *server, token string) (output, error) {
	a, err := s.send(in.request(token))
	if err != nil {
		return output{}, err
	}
	switch {
	case a.status >= http.StatusInternalServerError:
		return output{unknown: true}, nil
	case a.code == "ProvisionedThroughputExceededException":
		return output{refused: true}, nil // as while the disk takes nothing
	case a.code == "ConditionalCheckFailedException" || a.code == "TransactionCanceledException":
		return output{}, nil
	case a.status != http.StatusOK:
		return output{}, fmt.Errorf("%+v: %d %s", in, a.status, a.code)
	}
	out := output{ok: true}
	switch in.kind {
	case get:
		out.n, err = counter(a.body.Item)
	case look:
		if len(a.body.Responses) != 2 {
			return output{}, fmt.Errorf("%+v: %+v", in, a)
		}
		out.n, err = counter(a.body.Responses[0].Item)
		if err == nil {
			out.m, err = counter(a.body.Responses[1].Item)
		}
	default: // says nothing but that it was done
	}
	return out, err
}

// history lets clients loose on a server, and returns what they saw.
func history(t *testing.T, seed uint64, damage func(tableFunc) tableFunc) []porcupine.Operation {
	t.Helper()
	s, err := newServer(damage)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.send("CreateTable", createTable); err != nil || a.status != http.StatusOK {
		t.Fatalf("CreateTable: %+v, %v", a, err)
	}
	var (
		ticks   atomic.Int64 // the time of the history
		done    atomic.Int64 // operations
		mu      sync.Mutex   // guards ops
		ops     []porcupine.Operation
		wg      sync.WaitGroup
		restart = make(chan bool) // whether to kill
	)
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			guess := [keys]int{} // of the counters
			for i := range perClient {
				in := input{kind: kind(r.IntN(int(kinds))), key: r.IntN(keys)}
				in.other = (in.key + 1 + r.IntN(keys-1)) % keys
				in.want = max(guess[in.key], 0)
				if in.kind == get || in.kind == look || in.kind == create {
					in.want = 0
				}
				op := porcupine.Operation{ClientId: c, Input: in, Call: ticks.Add(1)}
				out, err := in.do(s, fmt.Sprintf("%d-%d", c, i))
				if err != nil {
					t.Error(err)
				}
				op.Output, op.Return = out, ticks.Add(1)
				switch {
				case in.kind == get && out.ok:
					guess[in.key] = out.n
				case in.kind == look && out.ok:
					guess[in.key], guess[in.other] = out.n, out.m
				case out.ok && (in.kind == count || in.kind == move):
					guess[in.key] = in.want + 1
				}
				// A read without an answer says nothing, nor does what was refused:
				// had it been done all the same, a later read would show it.
				if reads := in.kind == get || in.kind == look; !out.refused && (!reads || !out.unknown) {
					mu.Lock()
					ops = append(ops, op)
					mu.Unlock()
				}
				if n := done.Add(1); n%(clients*perClient/(restarts+1)) == 0 && n < clients*perClient {
					restart <- n/(clients*perClient/(restarts+1))%2 == 0
				}
			}
		})
	}
	var restarter sync.WaitGroup
	restarter.Go(func() {
		for kill := range restart {
			if err := s.restart(kill); err != nil {
				t.Errorf("restart: %v", err)
			}
		}
	})
	wg.Wait()
	close(restart)
	restarter.Wait()
	if err := s.close(); err != nil {
		t.Error(err)
	}
	return ops
}

// checkLimit ends a check that takes too long, which counts as a failure.
const checkLimit = 30 * time.Second

func check(ops []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model.ToModel(), ops, checkLimit)
}

func seeds() []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	list := make([]uint64, *histFlag)
	for i := range list {
		list[i] = uint64(i + 1)
	}
	return list
}

// TestTables checks histories of a server as it is.
func TestTables(t *testing.T) {
	did, unknown := map[kind]int{}, 0
	for _, seed := range seeds() {
		ops := history(t, seed, nil)
		if got := check(ops); got != porcupine.Ok {
			t.Fatalf("history of -seed=%d: %v", seed, got)
		}
		for _, op := range ops {
			out := op.Output.(output)
			if out.unknown {
				unknown++
			}
			if out.ok {
				did[op.Input.(input).kind]++
			}
		}
	}
	// A history in which little happens shows little.
	for k := range kinds {
		if did[k] < len(seeds()) {
			t.Errorf("operation %d was done %d times in %d histories", k, did[k], len(seeds()))
		}
	}
	t.Logf("%d histories, done %v, unknown %d", len(seeds()), did, unknown)
}

// TestBrokenServersAreCaught is the test of the test: each of these servers is
// wrong in one way, which some history must show.
func TestBrokenServersAreCaught(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(tableFunc) tableFunc
	}{
		{"reads are one behind", staleReads},
		{"a condition is not looked at", noCondition},
		{"an update is not done", lostUpdate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, seed := range seeds() {
				if check(history(t, seed, tt.damage)) == porcupine.Illegal {
					return
				}
			}
			t.Error("no history shows it")
		})
	}
}

// staleReads answers each fifth read of an item as the last one was answered.
func staleReads(answer tableFunc) tableFunc {
	var mu sync.Mutex // guards last and n
	last, n := map[string]awsproto.TableResponse{}, 0
	return func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		res, err := answer(ctx, scope, op, body)
		if op != "GetItem" || err != nil {
			return res, err
		}
		mu.Lock()
		defer mu.Unlock()
		before := last[string(body)]
		last[string(body)] = res
		if n++; n%5 == 0 && before != nil {
			return before, nil
		}
		return res, nil
	}
}

// noCondition lets every PutItem through.
func noCondition(answer tableFunc) tableFunc {
	return func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		if op == "PutItem" {
			const cond = `,"ConditionExpression":"attribute_not_exists(k)"`
			body = []byte(string(body[:len(body)-len(cond)-1]) + "}")
		}
		return answer(ctx, scope, op, body)
	}
}

// lostUpdate answers updates whose condition holds without doing them.
func lostUpdate(answer tableFunc) tableFunc {
	return func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		if op != "UpdateItem" {
			return answer(ctx, scope, op, body)
		}
		const set = `SET n = n + :one`
		same := []byte(string(body))
		for i := 0; i+len(set) <= len(same); i++ {
			if string(same[i:i+len(set)]) == set {
				copy(same[i:], `SET x = n + :one`)
			}
		}
		return answer(ctx, scope, op, same)
	}
}
