// The completion script of bash.

import { type CompletedCommand, namesOf, quote } from "./command_tree.ts";

/** Bash takes "=" for a word, and splits at ":". What is no command and no value is an operand. */
const walk = `_rustre() {
  local current=\${COMP_WORDS[COMP_CWORD]} at=rustre flag= index=1 word
  local subcommands flags valued operands choices
  _rustre_at "$at"
  while ((index < COMP_CWORD)); do
    word=\${COMP_WORDS[index]}
    if [[ " $valued " == *" $word "* ]]; then
      ((index++))
      if [[ \${COMP_WORDS[index]} == "=" ]]; then
        if ((index == COMP_CWORD)); then current=; fi
        ((index++))
      fi
      if ((index >= COMP_CWORD)); then
        flag=$word
        break
      fi
    elif [[ " $subcommands " == *" $word "* ]]; then
      at+=" $word"
      _rustre_at "$at"
    fi
    ((index++))
  done
  if [[ -n $flag ]]; then
    _rustre_choices "$at:$flag"
    COMPREPLY=($(compgen -W "$choices" -- "$current"))
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$subcommands $operands" -- "$current"))
  fi
}

complete -o bashdefault -o default -F _rustre rustre
`;

export function bashScript(commands: readonly CompletedCommand[]): string {
  const lines = ["_rustre_at() {", "  subcommands= flags= valued= operands=", '  case "$1" in'];
  for (const { path, subcommands, flags, operands } of commands) {
    const valued = flags.filter(({ isValued }) => isValued);
    lines.push(
      `    ${quote(path)})`,
      `      subcommands=${words(subcommands.map(({ name }) => name))}`,
      `      flags=${words(namesOf(flags))}`,
      `      valued=${words(namesOf(valued))}`,
      `      operands=${words(operands)}`,
      "      ;;",
    );
  }
  lines.push("  esac", "}", "", "_rustre_choices() {", "  choices=", '  case "$1" in');
  for (const { path, flags } of commands) {
    for (const { names, choices } of flags) {
      if (choices.length === 0) continue;
      const patterns = names.map((name) => quote(`${path}:${name}`)).join(" | ");
      lines.push(`    ${patterns}) choices=${words(choices)} ;;`);
    }
  }
  return [...lines, "  esac", "}", "", walk].join("\n");
}

/** A list for `compgen -W`. */
function words(items: readonly string[]): string {
  return quote(items.join(" "));
}
