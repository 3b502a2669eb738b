package prometheus

import (
	"encoding/json"
	"net/http"
)

// heaviestPath is where the heaviest peers are served.
const heaviestPath = "/peers/heaviest"

// heaviest answers which peers make the node's message thread work most, without their
// addresses.
func (x *Exporter) heaviest(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(x.Heaviest(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(append(text, '\n'))
}
