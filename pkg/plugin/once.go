package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// takeOnce has the verbs refuse a flag that is given twice, of which the first one would count
// for nothing, untold. Flags that take lists add up, and of a switch the last one counts, so that
// it can be set back. What completes a command line reads flags more than once, so they are
// looked at only when a verb runs.
func takeOnce(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if _, isList := f.Value.(pflag.SliceValue); !isList && f.Value.Type() != "bool" {
				f.Value = &once{Value: f.Value}
			}
		})
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if o, is := f.Value.(*once); is && len(o.texts) > 1 && err == nil {
				err = o.twice(f.Name)
			}
		})
		return err
	}
}

// once is a flag that takes one value, and remembers all that it was given.
type once struct {
	pflag.Value
	texts []string
}

// Set sets the value.
func (o *once) Set(text string) error {
	o.texts = append(o.texts, text)
	return o.Value.Set(text)
}

// twice is the error of a flag that was given more than once, and says how selectors are written
// that are more than one.
func (o *once) twice(name string) error {
	such := ""
	if slices.Contains([]string{"from", "to"}, name) {
		such = fmt.Sprintf(", such as --%s '%s'", name, strings.Join(o.texts, ","))
	}
	return usage("--%s is given more than once, as %s: want it once%s", name, strings.Join(o.texts, " and "), such)
}
