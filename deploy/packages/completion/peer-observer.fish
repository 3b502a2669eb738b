# Completion for fish: the program itself says what may follow. It is told of the word
# that is being typed only where that is a flag or the value of one: it would take the
# beginning of a command for an argument of the default command.
function __peer_observer_complete
    set --local words (commandline --tokenize --cut-at-cursor --current-process)
    set --local current (commandline --current-token --cut-at-cursor)
    set --local previous $words[-1]
    set --erase words[1]
    if string match --quiet -- '-*' "$current"; or string match --quiet -- '--*' "$previous"
        set --append words "$current"
    end
    peer-observer --completion-bash $words 2>/dev/null
end
complete --command peer-observer --arguments '(__peer_observer_complete)'
