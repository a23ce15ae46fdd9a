package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
)

// tikvStatus is TiKV's status port. TiDB Operator reads from it how many
// leaders a store must still transfer before its pod may restart.
func tikvStatus() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "tikv_raftstore_region_count{type=\"leader\"} 0\n")
	})
}

// tidbStatus is TiDB's status port, where TiDB Operator reads its health.
func tidbStatus() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"connections": 0, "version": "8.0.11-TiDB-standin"})
	})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		slog.Warn("write answer", "error", err)
	}
}

// writeError answers 503, on which TiDB Operator asks again.
func writeError(w http.ResponseWriter, err error) {
	slog.Warn("answer unavailable", "error", err)
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
