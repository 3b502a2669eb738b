package prometheus_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/exporters/metrics"
	"github.com/peerobserver/peerobserver/exporters/prometheus"
)

func TestHeaviest(t *testing.T) {
	x := newExporter(t, prometheus.Config{})
	recorder := httptest.NewRecorder()
	x.Handler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/peers/heaviest", http.NoBody))
	list := []metrics.HeaviestPeers{{}}
	if err := json.Unmarshal(recorder.Body.Bytes(), &list); err != nil || recorder.Code != http.StatusOK || len(list) != 0 {
		t.Errorf("%d, %q, %v", recorder.Code, recorder.Body, err)
	}
	if kind := recorder.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("content type %q", kind)
	}
}
