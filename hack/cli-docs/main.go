// Command cli-docs writes a page of Markdown for each verb of the plugin into a folder, and one
// that lists them.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/tidelay/tidelay/pkg/plugin"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: cli-docs FOLDER")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	root := plugin.Command()
	if err := write(root, args[0]); err != nil {
		return err
	}
	// The flags of kubectl are on the page of root, and not on each other one again.
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() {
			continue
		}
		if err := write(cmd, args[0]); err != nil {
			return err
		}
	}
	return nil
}

// write writes the page of a command into a folder.
func write(cmd *cobra.Command, folder string) error {
	content, err := page(cmd)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "_") + ".md"
	if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// page returns the page of a command. It has no date, so that it changes with the command only.
func page(cmd *cobra.Command) ([]byte, error) {
	cmd.DisableAutoGenTag = true
	cmd.Long = fence(strings.TrimPrefix(cmd.Long, cmd.Short+".\n\n"))
	var page bytes.Buffer
	if err := doc.GenMarkdown(cmd, &page); err != nil {
		return nil, fmt.Errorf("make page of %s: %w", cmd.CommandPath(), err)
	}
	// How to use it is no command that somebody could run: a block without a fence.
	text := strings.Replace(page.String(), "```\n"+cmd.UseLine()+"\n```", "    "+cmd.UseLine(), 1)
	return []byte(strings.TrimRight(text, "\n") + "\n"), nil
}

// fence puts lines that are indented by two spaces, which are commands, into blocks of code.
func fence(text string) string {
	var all []string
	isCode := false
	for line := range strings.SplitSeq(text, "\n") {
		code, is := strings.CutPrefix(line, "  ")
		if is != isCode {
			all = append(all, "```")
			isCode = is
		}
		all = append(all, code)
	}
	if isCode {
		all = append(all, "```")
	}
	return strings.Join(all, "\n")
}
