package plugin

import (
	_ "embed"
	"fmt"

	"github.com/spf13/cobra"
)

// kubectlScript is the program that kubectl runs to complete the words of this plugin.
//
//go:embed kubectl_complete-tidelay
var kubectlScript string

// newCompletion returns the verb completion.
func (a *app) newCompletion() *cobra.Command {
	shells := []string{"kubectl", "bash", "zsh", "fish"}
	cmd := verb("completion kubectl|bash|zsh|fish", "Print a script that completes words",
		`kubectl completes the words of its plugins by programs. With this one on the PATH the completion
of kubectl itself, in any shell, completes "kubectl tidelay" too:

  kubectl tidelay completion kubectl >kubectl_complete-tidelay
  chmod +x kubectl_complete-tidelay
  sudo mv kubectl_complete-tidelay /usr/local/bin/

The scripts of the shells complete the words of the program kubectl-tidelay, for who calls that:

  source <(kubectl tidelay completion bash)
  source <(kubectl tidelay completion zsh)
  kubectl tidelay completion fish | source

bash and zsh complete nothing behind a quote that is open. There put a backslash before
the parenthesis of a selector instead.`, exactly(1, "kubectl, bash, zsh or fish"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root := cmd.Root()
		root.Use = "kubectl-tidelay" // the program that a shell knows
		var err error
		switch args[0] {
		case "kubectl":
			_, err = fmt.Fprint(a.Out, kubectlScript)
		case "bash":
			err = root.GenBashCompletionV2(a.Out, true)
		case "zsh":
			err = root.GenZshCompletion(a.Out)
		case "fish":
			err = root.GenFishCompletion(a.Out, true)
		default:
			return usage("there is no completion for %q%s", args[0], accepted(args[0], shells))
		}
		if err != nil {
			return fmt.Errorf("print completion: %w", err)
		}
		return nil
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return shells, noFiles
	}
	return cmd
}
