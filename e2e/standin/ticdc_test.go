package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCapture(t *testing.T) {
	captures := []*capture{newCapture("basic-ticdc-0"), newCapture("basic-ticdc-1")}
	ask := func(c *capture, method, path string) bool {
		t.Helper()
		answer := httptest.NewRecorder()
		c.handler().ServeHTTP(answer, httptest.NewRequest(method, path, nil))
		var got struct {
			ID      string `json:"id"`
			IsOwner bool   `json:"is_owner"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusOK || got.ID != c.pod {
			t.Fatalf("%s %s at %s: %d %s", method, path, c.pod, answer.Code, answer.Body)
		}
		return got.IsOwner
	}
	for i, c := range captures {
		if is := ask(c, http.MethodGet, "/status"); is != (i == 0) {
			t.Errorf("%s owns: %t, want the first to", c.pod, is)
		}
	}
	for i, c := range captures {
		if is := ask(c, http.MethodPut, "/standin/owner/basic-ticdc-1"); is != (i == 1) {
			t.Errorf("%s owns: %t, want basic-ticdc-1 to", c.pod, is)
		}
	}
}
