package plugin

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// meant ends a sentence about a wrong word with the right ones that are near to it, or else
// with all of them.
func meant(word string, right []string) string {
	near := nearest(word, right)
	switch {
	case len(near) > 0:
		return "; did you mean " + strings.Join(near, " or ") + "?"
	case len(right) > 0:
		return "; want " + strings.Join(right, ", ")
	default:
		return ""
	}
}

// nearest returns the words that are near to a wrong one, as cobra suggests commands.
func nearest(word string, right []string) []string {
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, one := range right {
		all.AddCommand(&cobra.Command{Use: one, Run: func(*cobra.Command, []string) {}})
	}
	return all.SuggestionsFor(word)
}

// flagError is what a wrong flag is told.
func flagError(cmd *cobra.Command, err error) error {
	unknown, is := errors.AsType[*pflag.NotExistError](err)
	if !is || unknown.GetSpecifiedName() == "" {
		return usage("%w", err)
	}
	var right []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { right = append(right, f.Name) })
	near := nearest(unknown.GetSpecifiedName(), right)
	if len(near) == 0 {
		return usage("%w", err)
	}
	return usage("%w; did you mean --%s?", err, strings.Join(near, " or --"))
}

// exactly wants some arguments, of which words says what they are.
func exactly(n int, words string) cobra.PositionalArgs {
	return between(n, n, words)
}

func between(least, most int, words string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usage("want %s, and not %q", words, args)
		}
		return nil
	}
}
