// The completion script of zsh, to be sourced or found as `_rustre` in the fpath.

import { type CompletedCommand, namesOf, quote } from "./command_tree.ts";

const walk = `_rustre() {
  local at=rustre flag= index=2 word
  local -a subcommands names flags valued operands choices
  _rustre_at "$at"
  while (( index < CURRENT )); do
    word=$words[index]
    if (( $valued[(Ie)$word] )); then
      (( index++ ))
      if (( index >= CURRENT )); then
        flag=$word
        break
      fi
    elif (( $names[(Ie)$word] )); then
      at+=" $word"
      _rustre_at "$at"
    fi
    (( index++ ))
  done
  if [[ -z $flag && $PREFIX == --*=* ]]; then
    flag=\${PREFIX%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    _rustre_choices "$at:$flag"
    if (( $#choices )); then compadd -a choices; else _files; fi
  elif [[ $PREFIX == -* ]]; then
    _describe -o flag flags
  elif (( $#names )); then
    _describe command subcommands
  elif (( $#operands )); then
    compadd -a operands
  else
    _files
  fi
}

if [[ $funcstack[1] == _rustre ]]; then
  _rustre "$@"
else
  compdef _rustre rustre
fi
`;

export function zshScript(commands: readonly CompletedCommand[]): string {
  const lines = ["#compdef rustre", "", "_rustre_at() {", '  case "$1" in'];
  for (const { path, subcommands, flags, operands } of commands) {
    const described = subcommands.map((each) => describe(each.name, each.description));
    const describedFlags = flags.flatMap(({ names, description }) =>
      names.map((name) => describe(name, description))
    );
    lines.push(
      `    ${quote(path)})`,
      `      subcommands=${list(described)}`,
      `      names=${list(subcommands.map(({ name }) => name))}`,
      `      flags=${list(describedFlags)}`,
      `      valued=${list(namesOf(flags.filter(({ isValued }) => isValued)))}`,
      `      operands=${list(operands)}`,
      "      ;;",
    );
  }
  lines.push("  esac", "}", "", "_rustre_choices() {", "  choices=()", '  case "$1" in');
  for (const { path, flags } of commands) {
    for (const { names, choices } of flags) {
      if (choices.length === 0) continue;
      const patterns = names.map((name) => quote(`${path}:${name}`)).join(" | ");
      lines.push(`    ${patterns}) choices=${list(choices)} ;;`);
    }
  }
  return [...lines, "  esac", "}", "", walk].join("\n");
}

/** For _describe, which takes the first colon for the end of the name. */
function describe(name: string, description: string): string {
  return `${name.replaceAll(":", "\\:")}:${description}`;
}

function list(items: readonly string[]): string {
  return `(${items.map(quote).join(" ")})`;
}
