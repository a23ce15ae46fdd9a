package docs

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

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
	if c.verb == "tidelay" {
		c.arguments = rest
		return c, nil
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
