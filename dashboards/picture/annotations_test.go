package picture

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// Annotations mark where a series begins, again after a gap, or the times that are its
// values; not those that are switched off or outside the picture.
func TestMarks(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	answers := map[string]string{
		"begins": `{"metric":{},"values":[[1700000001,"1"],[1700000002,"1"],[1700000005,"1"]]},{"metric":{"a":"b"},"values":[[1700000003,"1"]]}`,
		"times":  `{"metric":{},"values":[[1700000002,"1700000004000"],[1700000003,"1700000004000"],[1700000004,"1600000000000"]]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.FormValue("query")]
		if !ok {
			t.Errorf("query %q", r.FormValue("query"))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"result":[%s]}}`, answer)
	}))
	t.Cleanup(server.Close)
	d, err := Parse([]byte(`{"annotations":{"list":[
		{"name":"built in","enable":true},
		{"name":"Begins","enable":true,"iconColor":"red","expr":"$what"},
		{"name":"Times","enable":true,"iconColor":"purple","expr":"times","useValueForTime":true},
		{"name":"Off","enable":false,"expr":"off"}
	]}}`))
	if err != nil {
		t.Fatal(err)
	}
	marks, err := d.marks(t.Context(), Options{
		Client: Client{URL: server.URL, HTTP: server.Client()}, Span: Span{Start: start, End: start.Add(6 * time.Second), Step: time.Second},
		Variables: map[string]string{"what": "begins"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range marks {
		var at []string
		for i, happened := range m.at {
			if happened {
				at = append(at, fmt.Sprint(i))
			}
		}
		got = append(got, fmt.Sprintf("%s %d at %s", m.name, m.count, strings.Join(at, " ")))
		// Two points for each, unless they touch.
		drawn := 0
		for _, v := range m.line().Values {
			if v == 0 || v == 1 {
				drawn++
			}
		}
		if drawn != 2*m.count {
			t.Errorf("%s: %d points for %d marks", m.name, drawn, m.count)
		}
	}
	if want := []string{"Begins 3 at 1 3 5", "Times 1 at 4"}; !slices.Equal(got, want) {
		t.Errorf("marks %q, want %q", got, want)
	}
}
