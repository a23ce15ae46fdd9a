package docs

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// checkRequest compares a request with the agent's openapi.json, and parses its
// body as the agent does. Where the page shows that the agent refuses it, it
// must be wrong.
func checkRequest(t *testing.T, method, address, body, output string) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	err = tryRequest(t, method, target, body)
	if refused := strings.Contains(output, `"status":4`); refused && err == nil {
		t.Errorf("%s %s: the page shows an error, and the request is good", method, address)
	} else if !refused && err != nil {
		t.Errorf("%s %s: %v", method, address, err)
	}
}

func tryRequest(t *testing.T, method string, target *url.URL, body string) error {
	t.Helper()
	document := readOpenAPI(t)
	for path, operations := range document.Paths {
		values := matchPath(path, target.Path)
		operation, ok := operations[strings.ToLower(method)]
		if values == nil || !ok || !works(operation.Responses) {
			continue
		}
		known := map[string]bool{}
		for _, parameter := range operation.Parameters {
			p := document.Components.Parameters[parameter.Ref[strings.LastIndex(parameter.Ref, "/")+1:]]
			known[p.Name] = p.In == "query"
		}
		for name := range target.Query() {
			if !known[name] {
				return fmt.Errorf("query %s: want one of %s", name, names(known))
			}
		}
		return checkContent(path, values, body)
	}
	return fmt.Errorf("openapi.json has no such route")
}

// matchPath returns the values of a path's parameters, nil if it is another path.
func matchPath(template, path string) map[string]string {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil
	}
	values := map[string]string{}
	for i := range want {
		if match := pathParameter.FindStringSubmatch(want[i]); match != nil && got[i] != "" {
			values[match[1]] = got[i]
		} else if want[i] != got[i] {
			return nil
		}
	}
	return values
}
