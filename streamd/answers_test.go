package streamd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fxamacker/cbor/v2"
)

// slowReader is a client that takes its answer when it is let.
type slowReader struct {
	*httptest.ResponseRecorder
	let <-chan struct{}
}

func (w slowReader) Write(b []byte) (int, error) {
	<-w.let
	return w.ResponseRecorder.Write(b)
}

// TestAnswersOfSlowReaders has readers of large answers use up the memory for
// them, and others meet that.
func TestAnswersOfSlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 1}}, AnswerMemory: 40 << 20})
		for range 11 {
			w.ok("PutRecords", string(putBody(100, 10<<10)))
		}
		all, one := w.getBody(0, ""), w.getBody(0, `,"Limit":1`)
		let := make(chan struct{})
		const readers = 2
		codes := make(chan int, readers) // so that none waits for the test
		for range readers {
			go func() {
				a := slowReader{httptest.NewRecorder(), let}
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", strings.NewReader(all))
				r.Header.Set("X-Amz-Target", "Kinesis_20131202.GetRecords")
				r.Header.Set("Content-Type", "application/x-amz-json-1.1")
				w.h.ServeHTTP(a, r)
				codes <- a.Code
			}()
		}
		synctest.Wait()
		const success = `kinesis_get_records_success_total{stream="s"}`
		records := `kinesis_get_records_records_total{stream="s"}`
		w.expect("two wait", fmt.Sprint("streamd_answer_bytes ", float64(32<<20)), "streamd_answers_refused_total 0", records+" 2048")

		w.ok("GetRecords", one) // for which there is room
		a := w.call("GetRecords", all)
		if a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), `"__type":"ProvisionedThroughputExceededException"`) || a.Body.Len() > 1000 {
			t.Errorf("a third large answer: %d, %d bytes", a.Code, a.Body.Len())
		}
		w.expect("a third was refused", fmt.Sprint("streamd_answer_bytes ", float64(32<<20)), "streamd_answers_refused_total 1", records+" 2049",
			`streamd_requests_total{code="ProvisionedThroughputExceededException",operation="GetRecords",service="kinesis"} 1`)
		w.ok("PutRecords", string(putBody(1, 10))) // puts are never refused for it

		close(let)
		for range readers {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("a slow reader got %d", code)
			}
		}
		w.expect("all have read", "streamd_answer_bytes 0", success+" 3")
		w.ok("GetRecords", all)
		w.expect("at the end", "streamd_answer_bytes 0", "streamd_answers_refused_total 1")
	})
}

// TestNoRoomForAnyAnswer has the memory used up to the last byte: nothing is read
// from the shard then.
func TestNoRoomForAnyAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Config{Create: []StreamSpec{{Name: "s", Shards: 1}}, AnswerMemory: 16 << 20, Limits: Limits{ReadCalls: 2}})
		for range 11 {
			w.ok("PutRecords", string(putBody(100, 10<<10)))
		}
		all, one := w.getBody(0, ""), w.getBody(0, `,"Limit":1`)
		let, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", strings.NewReader(all))
			r.Header.Set("X-Amz-Target", "Kinesis_20131202.GetRecords")
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			w.h.ServeHTTP(slowReader{httptest.NewRecorder(), let}, r)
		}()
		synctest.Wait()
		for range 5 {
			if a := w.call("GetRecords", one); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), "too many answers") {
				t.Errorf("%d %s", a.Code, a.Body)
			}
		}
		compareGolden(t, "answers.golden", fmt.Appendf(nil, "== no room for an answer\n400\n%s\nCBOR: %q\n", w.call("GetRecords", one).Body, w.refusedInCBOR(one)))
		w.expect("none was let in", "streamd_answers_refused_total 7", `kinesis_read_provisioned_throughput_exceeded_total{stream="s"} 0`)
		close(let)
		<-done
		w.ok("GetRecords", one) // refusals have not used the rate up
	})
}

// refusedInCBOR returns what GetRecords answers in CBOR to a body in JSON.
func (w *watched) refusedInCBOR(body string) []byte {
	w.t.Helper()
	var in any
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		w.t.Fatal(err)
	}
	in.(map[string]any)["Limit"] = 1
	b, err := cbor.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.call("GetRecords", string(b), "Content-Type", "application/x-amz-cbor-1.1")
	return a.Body.Bytes()
}
