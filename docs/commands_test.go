package docs

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

// tools are the commands that are checked beyond their syntax: the sub-commands
// that the documents use, and the flags that each of them takes. A flag with a
// value ends in "=".
var tools = map[string]map[string][]string{
	"kubectl": {
		"annotate":     {"-n="},
		"apply":        {"-k=", "-f="},
		"create":       {"-n=", "--from-literal="},
		"delete":       {"-n=", "-k=", "--raw="},
		"get":          {"-n=", "-o=", "--raw=", "--field-selector="},
		"logs":         {"-n="},
		"exec":         {},
		"patch":        {"-n=", "--type=", "-p="},
		"port-forward": {"-n="},
		"replace":      {"--raw=", "-f="},
	},
	"helm": {
		"install":   {"--namespace=", "--create-namespace", "--set="},
		"upgrade":   {"--namespace=", "--reset-then-reuse-values", "--set="},
		"uninstall": {"--namespace="},
	},
	"curl": {"": {"-X=", "-d=", "-H="}},
}

// toolFlags are the names of all flags of tools.
func toolFlags() map[string]bool {
	all := map[string]bool{}
	for _, commands := range tools {
		for _, flags := range commands {
			for _, flag := range flags {
				all[strings.Trim(flag, "-=")] = true
			}
		}
	}
	return all
}

// command is one call of a tool.
type command struct {
	tool, verb string
	// arguments are what is no flag, flags the others with their values.
	arguments []string
	flags     map[string]string
	// output is what the page shows that the command printed, if it does.
	output string
}

// TestCommands tries every command of a tool: that it parses, that the tool
// has it, and that what it names is there.
func TestCommands(t *testing.T) {
	seen := map[string]int{}
	for _, p := range allPages(t) {
		var sources []block
		for _, b := range p.blocks {
			if b.language == "" {
				sources = append(sources, scripts(b.content)...)
			}
		}
		for _, span := range p.spans {
			if calls(span) && strings.Contains(span, " ") && !isName(span) {
				sources = append(sources, block{content: span})
			}
			if keys, ok := strings.CutPrefix(span, "--set "); ok {
				checkValues(t, p.name, keys)
			}
		}
		for _, source := range sources {
			commands, err := parseCommands(source)
			if err != nil {
				t.Errorf("%s: %v in:\n%s", p.name, err, source.content)
			}
			for _, c := range commands {
				seen[c.tool]++
				t.Run(p.name+" "+c.tool+" "+c.verb, func(t *testing.T) { c.check(t, p.name) })
			}
		}
	}
	for tool := range tools {
		if seen[tool] == 0 {
			t.Errorf("no page has a command of %s: they are not found", tool)
		}
	}
}

// isName reports a span that names a kind of command and shows none.
func isName(span string) bool {
	return span == "kubectl logs" || span == "kubectl exec" || span == "helm upgrade"
}

var call = regexp.MustCompile(`(?m)^(\$ )?(kubectl|helm|curl) `)

func calls(text string) bool { return call.MatchString(text) }

// scripts splits a code block into commands, as language, and what they print.
// A block with prompts has its commands behind them; one without is commands
// only. A block that calls no tool is none of ours.
func scripts(content string) []block {
	if !calls(content) {
		return nil
	}
	if !strings.Contains("\n"+content, "\n$ ") {
		return []block{{content: content}}
	}
	var all []block
	continues := false
	for line := range strings.Lines(content) {
		text, prompt := strings.CutPrefix(line, "$ ")
		switch {
		case prompt:
			all = append(all, block{content: text})
		case len(all) == 0:
			continue
		case continues:
			all[len(all)-1].content += line
		default:
			all[len(all)-1].language += line // what it printed
		}
		continues = (prompt || continues) && strings.HasSuffix(strings.TrimSpace(line), `\`)
	}
	return all
}

// parseCommands parses a script and returns its calls of tools.
func parseCommands(script block) ([]command, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(script.content), "")
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	config := &expand.Config{
		Env:     expand.ListEnviron("POD=10.244.0.12:2332", "TOKEN=secret"),
		NoUnset: true,
		CmdSubst: func(w io.Writer, _ *syntax.CmdSubst) error {
			_, err := io.WriteString(w, "substituted")
			return err
		},
	}
	var all []command
	var failed error
	syntax.Walk(file, func(n syntax.Node) bool {
		simple, ok := n.(*syntax.CallExpr)
		if !ok || len(simple.Args) == 0 || tools[simple.Args[0].Lit()] == nil {
			return true
		}
		words, err := expand.Fields(config, simple.Args...)
		if err == nil {
			var c command
			c, err = newCommand(words)
			c.output = script.language
			all = append(all, c)
		}
		if err != nil && failed == nil {
			failed = err
		}
		return true
	})
	return all, failed
}

// newCommand finds the sub-command and reads the flags.
func newCommand(words []string) (command, error) {
	c := command{tool: words[0], flags: map[string]string{}}
	rest := words[1:]
	verbs := tools[c.tool]
	if _, none := verbs[""]; !none {
		i := slices.IndexFunc(rest, func(w string) bool { return verbs[w] != nil })
		if i < 0 || i > 2 { // it may stand behind -n NAMESPACE
			return c, fmt.Errorf("%s: want one of %s", strings.Join(words, " "), names(verbs))
		}
		c.verb = rest[i]
		rest = slices.Delete(slices.Clone(rest), i, i+1)
	}
	known := verbs[c.verb]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		if !strings.HasPrefix(word, "-") {
			c.arguments = append(c.arguments, word)
			continue
		}
		name, value, given := strings.Cut(word, "=")
		switch {
		case slices.Contains(known, name) && !given:
		case !slices.Contains(known, name+"="):
			return c, fmt.Errorf("%s: %s %s takes %s", word, c.tool, c.verb, known)
		case !given && len(rest) == 0:
			return c, fmt.Errorf("%s: want a value", word)
		case !given:
			value, rest = rest[0], rest[1:]
		}
		if c.flags[name] != "" {
			value = c.flags[name] + "," + value
		}
		c.flags[name] = value
	}
	return c, nil
}

func (c command) check(t *testing.T, page string) {
	switch c.tool {
	case "kubectl":
		c.checkKubectl(t)
	case "helm":
		c.checkHelm(t, page)
	case "curl":
		c.checkCurl(t)
	}
}

var podProxy = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/pods/[^/]+:2332/proxy(/.*)$`)

func (c command) checkKubectl(t *testing.T) {
	if folder := c.flags["-k"]; folder != "" {
		if _, err := os.Stat(filepath.Join(root, folder, "kustomization.yaml")); err != nil {
			t.Errorf("-k %s: %v", folder, err)
		}
	}
	if patch := c.flags["-p"]; patch != "" {
		var any map[string]any
		if err := yaml.UnmarshalStrict([]byte(patch), &any); err != nil {
			t.Errorf("-p %s: %v", patch, err)
		}
	}
	if raw := c.flags["--raw"]; raw != "" {
		match := podProxy.FindStringSubmatch(raw)
		if match == nil {
			t.Fatalf("--raw %s: want %s", raw, podProxy)
		}
		method := map[string]string{"get": http.MethodGet, "delete": http.MethodDelete, "replace": http.MethodPut}[c.verb]
		checkRequest(t, method, "http://agent"+match[1], "", "")
	}
}

func (c command) checkHelm(t *testing.T, page string) {
	if c.verb != "uninstall" {
		if len(c.arguments) != 2 {
			t.Fatalf("want a name and a chart, got %q", c.arguments)
		}
		if _, err := os.Stat(filepath.Join(root, c.arguments[1], "Chart.yaml")); err != nil {
			t.Errorf("chart %s: %v", c.arguments[1], err)
		}
	}
	if keys := c.flags["--set"]; keys != "" {
		checkValues(t, page, keys)
	}
}

// checkValues compares the keys of helm's --set with the schema of the chart.
func checkValues(t *testing.T, page, settings string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "manifests/chart/values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	for setting := range strings.SplitSeq(settings, ",") {
		key, _, ok := strings.Cut(setting, "=")
		if !ok {
			t.Errorf("%s: --set %s: want KEY=VALUE", page, setting)
		}
		node := schema
		for part := range strings.SplitSeq(key, ".") {
			properties, _ := node["properties"].(map[string]any)
			node, _ = properties[part].(map[string]any)
		}
		if node == nil {
			t.Errorf("%s: --set %s: the chart has no such value", page, setting)
		}
	}
}

func (c command) checkCurl(t *testing.T) {
	if len(c.arguments) != 1 {
		t.Fatalf("want one address, got %q", c.arguments)
	}
	address := c.arguments[0]
	if !strings.HasPrefix(address, "http://") {
		address = "http://" + address
	}
	method := c.flags["-X"]
	switch {
	case method != "":
	case c.flags["-d"] != "":
		method = http.MethodPost
	default:
		method = http.MethodGet
	}
	checkRequest(t, method, address, c.flags["-d"], c.output)
}

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
